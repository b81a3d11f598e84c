import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tests.train.tiny_run import finetune_config, hum, pretrain_config, with_train

from wav2vec2.checkpoints.load import load
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Masking
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.train.finetune.command import build_vocabulary, run
from wav2vec2.train.finetune.config import FinetuneData, FreezeConfig
from wav2vec2.train.finetune.start import build_model
from wav2vec2.train.metrics import LOG_FILE
from wav2vec2.train.pretrain import command as pretrain
from wav2vec2.train.pretrain.command import PretrainConfig


@pytest.fixture(scope="module")
def pretrained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = with_train(pretrain_config(corpus, tmp_path_factory.mktemp("pretrained")), updates=2)
    return pretrain.run(replace(config, data=replace(config.data, hold_out=0)))


def test_a_pretrained_model_becomes_a_recogniser_that_loads(
    labelled_corpus: Path, pretrained: Path, tmp_path: Path
) -> None:
    model = load(run(finetune_config(labelled_corpus, tmp_path / "run", str(pretrained))))
    seconds = Manifest.open(labelled_corpus).samples / 16_000
    assert model.longest_heard == pytest.approx(np.percentile(seconds, 95), abs=0.006)
    assert isinstance(model, Wav2Vec2ForCTC)
    assert model.vocabulary is not None
    assert set("AB|") <= set(model.vocabulary.symbols)
    log = (tmp_path / "run" / LOG_FILE).read_text()
    assert '"cer"' in log
    assert '"wer"' in log


def test_the_frozen_phase_trains_the_output_layer_alone_and_the_feature_encoder_never(
    labelled_corpus: Path, pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = load(pretrained).encoder.state_dict()
    config = finetune_config(labelled_corpus, tmp_path / "run", str(pretrained))
    config = replace(config, data=replace(config.data, validation_split=""))
    frozen = load(run(replace(config, freeze=FreezeConfig(share=1.0))))
    said = capsys.readouterr().out
    assert "the first 6 updates train only the output layer" in said
    assert "left out of validation" not in said
    assert all(torch.equal(before[n], value) for n, value in frozen.encoder.state_dict().items())
    free = load(run(replace(config, output=str(tmp_path / "free")))).encoder.state_dict()
    changed = {name for name, value in free.items() if not torch.equal(before[name], value)}
    assert not any(name.startswith("feature_encoder") for name in changed)
    assert any(name.startswith("context") for name in changed)


def test_from_scratch_nothing_is_frozen(labelled_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = finetune_config(labelled_corpus, tmp_path / "run", "scratch")
    vocabulary = build_vocabulary(config.text, Manifest.open(labelled_corpus), None)
    torch.manual_seed(config.seed)
    model, lines = build_model(config, vocabulary)
    assert model.regularization.feature_grad_mult == 1.0
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert "all of it trained from the first update" in lines[0]
    run(config)
    assert "train only the output layer" not in capsys.readouterr().out


def test_utterances_that_ctc_cannot_align_are_counted_named_and_left_out(
    labelled_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    rows = list(Manifest.open(labelled_corpus, "train"))
    rows.append(replace(rows[0], id="packed", text="AB" * 40))
    rows.append(replace(rows[1], id="silent", text=None))
    manifest = write_manifest(rows, tmp_path / "m.parquet")
    config = finetune_config(manifest, tmp_path / "run", "scratch")
    run(replace(config, data=replace(config.data, validation_split="")))
    said = capsys.readouterr().out
    assert "utterances left out: 1 with more labels than frames: packed" in said
    assert "utterances left out: 1 with no transcript: silent" in said
    named = (tmp_path / "run" / "left_out.tsv").read_text()
    assert named.startswith("packed\tmore labels than frames (")
    only = write_manifest([replace(rows[0], text="AB" * 40)], tmp_path / "only.parquet")
    with pytest.raises(UserError, match="transcript that fits its audio"):
        run(replace(config, data=FinetuneData(manifest=str(only))))


def test_validation_counts_only_what_has_a_transcript(
    labelled_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    rows = list(Manifest.open(labelled_corpus))
    bare = [replace(row, id=f"bare-{row.id}", text=None) for row in rows if row.split == "dev"]
    scores = []
    for name, chosen in (("alone", rows), ("among", [*bare, *rows])):
        manifest = write_manifest(chosen, tmp_path / f"{name}.parquet")
        config = with_train(finetune_config(manifest, tmp_path / name, "scratch"), updates=2)
        run(replace(config, log=replace(config.log, validate_every=2)))
        lines = (tmp_path / name / LOG_FILE).read_text().splitlines()
        scores.append([json.loads(line) for line in lines if '"cer"' in line][-1])
    for key in ("loss", "per_label", "cer", "wer"):
        assert scores[0][key] == pytest.approx(scores[1][key], rel=1e-5), key
    said = capsys.readouterr().out
    assert said.count(f"utterances left out of validation: {len(bare)} without a transcript") == 1
    manifest = write_manifest([row for row in [*rows, *bare] if row.text is None or row.split == "train"], manifest)
    with pytest.raises(UserError, match=f"none of its {len(bare)} utterances has a transcript; check its text column"):
        run(replace(config, output=str(tmp_path / "none")))


def test_label_lists_choose_the_utterances(labelled_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("u00\nu01\n\n")
    config = finetune_config(labelled_corpus, tmp_path / "run", "scratch")
    config = replace(config, data=replace(config.data, labels=str(tmp_path / "ids.txt"), validation_split=""))
    run(with_train(config, updates=1))
    (tmp_path / "ids.txt").write_text("no-such\n")
    with pytest.raises(UserError, match="no-such"):
        run(replace(config, output=str(tmp_path / "other")))


def test_a_missing_setting_is_one_line(labelled_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="init is not set"):
        run(finetune_config(labelled_corpus, tmp_path, ""))
    with pytest.raises(UserError, match=r"data\.manifest is not set"):
        pretrain.run(PretrainConfig(output=str(tmp_path)))


def test_a_tiny_model_learns_to_tell_a_hum_from_noise(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, 8_000).clip(-1, 1).astype(np.float32)
    rows = []
    for number in range(4):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, noise if number % 2 else hum(number, 8_000), 16_000, subtype="FLOAT")
        rows.append(Utterance(id=str(number), path=str(path), samples=8_000, text="AB"[number % 2], split="train"))
    manifest = write_manifest(rows, tmp_path / "m.parquet")
    config = finetune_config(manifest, tmp_path / "run", "scratch")
    config = replace(config, data=replace(config.data, validation_split="train"), masking=Masking(time_start=0.0))
    config = replace(config, regularization=replace(config.regularization, layerdrop=0.0, activation_dropout=0.0))
    config = replace(config, batch=replace(config.batch, seconds=2.0, micro_seconds=2.0))
    config = replace(config, log=replace(config.log, every=50, validate_every=100, save_every=0))
    run(replace(config, train=replace(config.train, updates=300, hold_share=0.8, lr=5e-3)))
    assert '"cer": 0.0' in (tmp_path / "run" / LOG_FILE).read_text()
