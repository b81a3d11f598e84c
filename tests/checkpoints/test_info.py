"""What ``wav2vec2 info`` prints for every format, without reading a weight."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.hub_double import repositories
from tests.hub_double.in_process import turn_to
from tests.hub_double.server import HubDouble

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


@pytest.mark.parametrize(
    ("make", "needed", "left", "licence"),
    [
        (repositories.base_960h, "model.safetensors", "pytorch_model.bin", "apache-2.0"),
        (repositories.xls_r_300m, "pytorch_model.bin", "", "apache-2.0"),
        (repositories.mms_1b_all, "model.safetensors", "adapter.eng", "cc-by-nc-4.0 (not for commercial use)"),
        (repositories.omnilingual_ctc, "omniASR-CTC-300M.pt", "", "apache-2.0"),
    ],
)
def test_of_the_hub_no_weights_are_downloaded(make, needed, left, licence, tmp_path, monkeypatch, capsys):
    folder = make(tmp_path / "published")
    with HubDouble() as hub:
        hub.add("some/model", folder)
        turn_to(hub, tmp_path / "cache", monkeypatch)
        assert main(["info", "some/model"]) == 0
        said = {line[:14].strip(): line[14:] for line in capsys.readouterr().out.splitlines()}
        assert not [asked for asked in hub.asked if asked.startswith("GET /large/")]
        assert said["download"].split(": ")[1].startswith(f"{needed} (")
        size = (folder / needed).stat().st_size
        assert float(said["download"].split()[0]) == pytest.approx(size / (1e6 if size >= 1e6 else 1e3), rel=0.1)
        assert left in said.get("not needed", "")
        assert said["licence"] == licence
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert main(["info", "some/model"]) == 2  # nothing that could be used is in the cache
        assert "its weights are not in the hub's cache" in capsys.readouterr().err or needed.endswith(".pt")
    if (folder / "config.json").exists():
        assert main(["info", str(folder)]) == 0
        here = {line[:14].strip(): line[14:] for line in capsys.readouterr().out.splitlines()}
        assert {name: said[name] for name in here if name != "model"} == {n: here[n] for n in here if n != "model"}


def test_a_language_of_the_hub(tmp_path, monkeypatch, capsys):
    with HubDouble() as hub:
        hub.add("some/mms", repositories.mms_1b_all(tmp_path / "published"))
        turn_to(hub, tmp_path / "cache", monkeypatch)
        assert main(["info", "some/mms", "--language", "hin"]) == 0
        assert "adapter.hin.safetensors" in (said := capsys.readouterr().out)
        assert "क ख ग" in said
        assert not [a for a in hub.asked if a.startswith("GET /large/") and "model.safetensors" in a]
        assert main(["info", "some/mms", "--language", "hi"]) == 2
        assert "did you mean hin?" in capsys.readouterr().err
