"""Facts: the folders and transcripts of AISHELL-1 (openslr.org/33) and TED-LIUM release 3 (openslr.org/51) as lhotse's
recipes read them; NIST's description of .stm."""

import json
from pathlib import Path

import pytest
from tests.data.corpora.test_pairs import layout
from tests.data.corpora.timit_tree import write_sphere
from tests.data.made_up_speech import voice

from wav2vec2.data.corpora.openslr import scan_aishell, scan_stm
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.layouts import PrepareStm, run
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError


def test_aishell(tmp_path: Path) -> None:
    files = {"transcript/aishell_transcript_v0.8.txt": "BAC009S0002W0122 而 对 楼市 成交\nBAC009S0002W0999 缺\n"}
    files |= {f"wav/train/S0002/BAC009S0002W0{number}.wav": "" for number in (122, 123)}
    root = layout(tmp_path / "data_aishell", files)
    for top in (root, tmp_path):
        found = list(scan_aishell(top))
        (row,) = [item for item in found if isinstance(item, Utterance)]
        assert (row.id, row.text, row.speaker, row.split) == ("BAC009S0002W0122", "而对楼市成交", "S0002", "train")
        assert [item.reason for item in found if isinstance(item, Rejection)] == [
            "audio without transcript",
            "transcript without audio",
        ]
    assert next(scan_aishell(root, spaces=True)).text == "而 对 楼市 成交"  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"unpack the archives \(S0002.tar.gz"):
        list(scan_aishell(layout(tmp_path / "x", {"transcript/aishell_transcript_v0.8.txt": "a b\n"})))
    with pytest.raises(UserError, match="has no transcript/aishell_transcript"):
        list(scan_aishell(tmp_path / "nowhere"))


def test_ted_lium(tmp_path: Path) -> None:
    root = tmp_path / "TEDLIUM_release-3"
    lines = (
        ";; a comment\n"
        "AlGore_2009 1 AlGore_2009 0.50 2.00 <o,f0,male> so i 'm going to\n"
        "AlGore_2009 1 inter_segment_gap 2.00 2.50 <o,f0,> ignore_time_segment_in_scoring\n"
        "AlGore_2009 1 AlGore_2009 3.00 2.00 <o,f0,male> backwards\n"
        "lost\n"
        "AlGore_2009 A AlGore_2009 2.5 4 no label here\n"
    )
    layout(root, {"legacy/dev/stm/AlGore_2009.stm": lines, "data/stm/AlGore_2009.stm": lines})
    write_sphere(root / "legacy" / "dev" / "sph" / "AlGore_2009.sph", voice(5.0))
    manifest = Manifest.open(run(PrepareStm(root=root, out=tmp_path / "out", workers=1)))
    assert [(row.id, row.start, row.samples, row.text, row.speaker, row.split) for row in manifest] == [
        ("AlGore_2009-8000-32000", 8_000, 24_000, "so i 'm going to", "AlGore_2009", "dev"),
        ("AlGore_2009-40000-64000", 40_000, 24_000, "no label here", "AlGore_2009", "dev"),
    ]
    rejected = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert [item["reason"] for item in rejected] == ["bad table row", "bad table row"]
    with pytest.raises(UserError, match=r"holds no .stm file"):
        list(scan_stm(tmp_path / "out"))


def test_an_stm_beside_its_recording(tmp_path: Path) -> None:
    layout(tmp_path, {"call.stm": "call A ann 0 1.5 hello\n", "call.mp3": ""})
    (row,) = scan_stm(tmp_path / "call.stm")
    assert isinstance(row, Utterance)
    assert (row.path, row.samples, row.speaker, row.split) == (str(tmp_path / "call.mp3"), 24_000, "ann", "")
