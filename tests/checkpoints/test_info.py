"""What ``wav2vec2 info`` prints for every format, without reading a weight."""

from dataclasses import replace
from pathlib import Path

import pytest

import wav2vec2
from wav2vec2.checkpoints.convert import write
from wav2vec2.checkpoints.tensors.torch_file import TorchFile
from wav2vec2.cli import main
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture, Masking
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.encoder import Wav2Vec2Encoder
from wav2vec2.text.vocabulary import Vocabulary

TINY = Architecture(
    "custom", (8,) * 7, hidden_size=16, layers=1, ffn_size=16, heads=2, pos_conv_kernel=4, pos_conv_groups=2
)
VOCABULARY = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", "a"))


@pytest.mark.parametrize("to", ["huggingface", "fairseq", "fairseq2", "torchaudio"])
def test_no_weight_is_read(
    to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Wav2Vec2ForCTC(TINY, VOCABULARY, masking=Masking(0.05, 10, 2, 0.004, 64))
    write(model, tmp_path, to)

    def refuse(*_: object) -> None:
        raise AssertionError("a weight was read")

    monkeypatch.setattr(TorchFile, "values", refuse)
    monkeypatch.setattr("wav2vec2.checkpoints.tensors.table.safe_open", refuse)
    assert main(["info", str(tmp_path)]) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    kept = 3 if to == "torchaudio" else 6
    assert said["kind"] == "recogniser (CTC)"
    assert said["family"] == "group-norm extractor, post-LN, raw input"
    assert said["vocabulary"].startswith(f"{kept} symbols: <pad>")
    assert said["transformer"] == "1 layers, width 16, feed-forward 16, 2 heads"
    parameters = sum(p.numel() for p in model.parameters()) - (6 - kept) * 17
    assert said["parameters"] == f"{parameters:,}"
    if to != "torchaudio":
        assert said["masking"] == "time p 0.05 x 10 frames, channels p 0.004 x 64"


def test_variants_are_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = replace(TINY, layer_norm_first=True, adapter_size=3, pos_conv_depth=2)
    wav2vec2.save(Wav2Vec2Encoder(a), tmp_path)
    assert main(["info", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "encoder without a head" in out
    assert "one per layer, 3 wide" in out
    assert "2 stacked convolutions" in out


def test_a_folder_of_several(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"holds 2 checkpoints, such as a\.pt"):
        wav2vec2.load(tmp_path)
