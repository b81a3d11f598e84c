import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.train.tiny_run import TINY, pretrain_config, with_train
from torch import nn

from wav2vec2.checkpoints.load import load
from wav2vec2.errors import UserError
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.train.metrics import LOG_FILE, duration
from wav2vec2.train.pretrain.command import build_model, run
from wav2vec2.train.pretrain.objective import ContrastiveObjective


def short(corpus: Path, output: Path):
    return with_train(pretrain_config(corpus, output), updates=5)


def test_a_run_leaves_config_log_checkpoints_and_a_model_that_loads(corpus: Path, tmp_path: Path) -> None:
    config = short(corpus, tmp_path / "run")
    config = replace(config, log=replace(config.log, tensorboard=True), batch=replace(config.batch, workers=1))
    directory = run(config)
    assert isinstance(load(directory), Wav2Vec2ForPretraining)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        ".run.lock", "best", "checkpoints", "config.toml", "log.jsonl", "model", "tensorboard"
    }  # fmt: skip
    records = [json.loads(line) for line in (tmp_path / "run" / LOG_FILE).read_text().splitlines()]
    assert [record["kind"] for record in records] == ["train", "validation", "stop"]
    wanted = {"contrastive", "chance", "accuracy", "code_perplexity", "soft_perplexity", "codes_used", "tau", "lr"}
    assert wanted | {"gradient_norm", "seconds_per_second", "padding", "penalty", "diversity"} <= records[0].keys()
    parts = ("feature_encoder", "context_network", "quantizer", "heads")
    assert all(records[0][f"gradient_norm_{part}"] > 0 for part in parts)


def test_numbers_of_the_parts_agree_with_those_of_the_whole(corpus: Path, tmp_path: Path) -> None:
    config = short(corpus, tmp_path / "run")
    run(replace(config, log=replace(config.log, every=1)))
    records = list(map(json.loads, (tmp_path / "run" / LOG_FILE).read_text().splitlines()))
    trained = [record for record in records if record["kind"] == "train"]
    assert len(trained) == 5
    for record in trained:
        parts = [value for name, value in record.items() if name.startswith("gradient_norm_")]
        assert len(parts) == 4
        assert math.hypot(*parts) == pytest.approx(record["gradient_norm"], rel=1e-5)
    for record in records[:-1]:
        for kind in ("code", "soft"):
            each = [record[f"{kind}_perplexity_{group}"] for group in (1, 2)]
            assert sum(each) == pytest.approx(record[f"{kind}_perplexity"])
            assert all(1 - 1e-5 <= value <= 8 + 1e-5 for value in each)


def test_a_run_that_decays_everything_logs_the_rate_of_its_one_group(corpus: Path, tmp_path: Path) -> None:
    config = with_train(short(corpus, tmp_path / "run"), updates=3, decay_all=True)
    run(replace(config, log=replace(config.log, every=1)))
    records = list(map(json.loads, (tmp_path / "run" / LOG_FILE).read_text().splitlines()))
    rates = [record["lr"] for record in records if record["kind"] == "train"]
    assert rates == pytest.approx([2e-3 * (3 - update) / 3 for update in range(3)])


def test_the_model_is_the_one_of_the_lowest_score_and_of_the_first_among_equals(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores, weights = [3.0, 1.0, 1.0, 2.0], []

    def validate(_: ContrastiveObjective, module: nn.Module) -> dict[str, float]:
        assert not module.training
        weights.append({name: value.clone() for name, value in module.state_dict().items()})
        return {"score": scores[len(weights) - 1], "contrastive": 9.0}

    monkeypatch.setattr(ContrastiveObjective, "validate", validate)
    config = with_train(pretrain_config(corpus, tmp_path / "run"), updates=4)
    directory = run(replace(config, log=replace(config.log, validate_every=1)))
    kept = load(directory).state_dict()
    assert all(torch.equal(kept[name], value) for name, value in weights[1].items())
    assert not all(torch.equal(kept[name], value) for name, value in weights[2].items())
    said = capsys.readouterr().out
    assert [said.count(f"validation at {update}: contrastive 9  (best so far)") for update in (1, 2, 3)] == [1, 1, 0]
    assert "(best validation, update 2)" in said


def test_without_validation_the_model_is_the_last_one(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = with_train(pretrain_config(corpus, tmp_path / "run"), updates=3)
    config = replace(config, data=replace(config.data, hold_out=0), log=replace(config.log, validate_every=1))
    run(config)
    assert "(update 3)" in capsys.readouterr().out
    assert not (tmp_path / "run" / "best").exists()


def test_validation_comes_every_so_many_updates_and_at_the_end_or_never(corpus: Path, tmp_path: Path) -> None:
    for every, expected in ((2, [2, 4, 5]), (0, [])):
        config = short(corpus, tmp_path / str(every))
        run(replace(config, log=replace(config.log, every=2, validate_every=every)))
        records = [json.loads(line) for line in (tmp_path / str(every) / LOG_FILE).read_text().splitlines()]
        assert [record["update"] for record in records if record["kind"] == "validation"] == expected
        assert [record["update"] for record in records if record["kind"] == "train"] == [2, 4, 5]


def test_loss_falls_and_the_finished_run_is_not_run_again(corpus: Path, tmp_path: Path) -> None:
    config = with_train(pretrain_config(corpus, tmp_path / "run"), updates=40)
    run(config)
    lines = (tmp_path / "run" / LOG_FILE).read_text().splitlines()
    losses = [r["loss"] for r in map(json.loads, lines) if r["kind"] == "train"]
    assert losses[-1] < losses[0]
    run(config)
    assert len((tmp_path / "run" / LOG_FILE).read_text().splitlines()) == len(lines) + 1


def test_continuing_a_model_keeps_or_redraws_its_quantizer(corpus: Path, tmp_path: Path) -> None:
    first = run(short(corpus, tmp_path / "run"))
    old = load(first)
    assert isinstance(old, Wav2Vec2ForPretraining)
    config = replace(short(corpus, tmp_path / "next"), init=str(first))
    kept, lines = build_model(config)
    assert "quantizer kept" in lines[0]
    assert all(torch.equal(value, kept.state_dict()[name]) for name, value in old.state_dict().items())
    drawn, lines = build_model(replace(config, init_quantizer="redraw"))
    assert "drawn anew" in lines[0]
    assert torch.equal(drawn.encoder.mask_embedding, old.encoder.mask_embedding)
    assert not torch.equal(drawn.quantizer.codevectors, old.quantizer.codevectors)
    assert run(config).exists()


def test_a_recogniser_can_be_pretrained_further(corpus: Path, tmp_path: Path) -> None:
    from wav2vec2.checkpoints.huggingface.directory import save

    recogniser = Wav2Vec2ForCTC(TINY.build(), 5)
    save(recogniser, tmp_path / "ctc")
    model, lines = build_model(replace(short(corpus, tmp_path / "run"), init=str(tmp_path / "ctc")))
    assert "a recogniser" in lines[0]
    assert torch.equal(model.encoder.mask_embedding, recogniser.encoder.mask_embedding)


def test_bad_files_are_named_and_the_run_goes_on(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from tests.train.tiny_run import write_corpus

    manifest = write_corpus(tmp_path / "corpus")
    for number in (3, 4):
        (tmp_path / "corpus" / f"{number:02d}.wav").write_bytes(b"RIFF")
    config = short(manifest, tmp_path / "run")
    run(replace(config, data=replace(config.data, hold_out=0)))
    said = capsys.readouterr().out
    assert "left out (1 so far): u0" in said
    assert '"kind": "bad_file"' in (tmp_path / "run" / LOG_FILE).read_text()


def test_a_run_that_can_read_nothing_stops_with_one_line(tmp_path: Path) -> None:
    from tests.train.tiny_run import write_corpus

    manifest = write_corpus(tmp_path / "corpus")
    for path in (tmp_path / "corpus").glob("*.wav"):
        path.write_bytes(b"RIFF")
    config = short(manifest, tmp_path / "run")
    with pytest.raises(UserError, match=r"no recording of update \d could be read, \d updates skipped in a row"):
        run(replace(config, data=replace(config.data, hold_out=0)))
    assert not (tmp_path / "run" / "model").exists()


def test_bf16_runs_on_the_cpu(corpus: Path, tmp_path: Path) -> None:
    assert run(with_train(short(corpus, tmp_path / "run"), precision="bf16", updates=2)).exists()


def test_durations_are_short_words() -> None:
    assert duration(7_500) == "2 h 05 min"
    assert duration(65) == "1 min 05 s"
    assert (duration(3_599), duration(3_600)) == ("59 min 59 s", "1 h 00 min")
