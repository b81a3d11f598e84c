import json
from dataclasses import replace

import pytest
from tests.data.corpora.timit_tree import timit_tree
from tests.experiment.smallest_models import smallest

from wav2vec2.errors import UserError
from wav2vec2.experiment import timit
from wav2vec2.experiment.cell import read_cell


@pytest.mark.usefixtures("unseen_figures")
def test_timit_runs_and_its_error_rate_is_the_counted_one(tree, tmp_path, capsys):
    root = timit_tree(tmp_path / "timit")
    options = timit.TimitOptions(**smallest(tmp_path / "out", tree, speech=None, lm_text=(), timit=root))
    options = replace(options, set=(*options.set, "pretrain:batch.min_seconds=0.1"))
    timit.run(options)
    shown = capsys.readouterr().out
    assert "Phone error rate in percent on 39 phones" in shown
    assert "8.3" in shown
    whole = timit.plan(options)
    report = json.loads((whole.folder("evaluate-timit-s1") / "evaluation.json").read_text())
    cell = read_cell(options.out / "results" / "timit-s1-greedy.json")
    assert cell.splits() == ("dev", "test")
    counts = cell.score("wer").counts
    assert counts.errors / counts.reference == pytest.approx(report["table"]["all"]["no LM"]["per"]["rate"])
    with pytest.raises(UserError, match="TIMIT is licensed"):
        timit.plan(replace(options, timit=None))
    with pytest.raises(UserError, match="is not a folder"):
        timit.plan(replace(options, timit=tmp_path / "none"))
