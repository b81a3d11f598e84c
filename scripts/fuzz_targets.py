"""What `fuzz.py` attacks: for each kind of file, good ones to start from and what the package does with a bad one."""

import contextlib
import io
import json
import shutil
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import torch

RATE = 16_000


@dataclass(frozen=True)
class Target:
    """A kind of file.

    `seeds(folder)` writes good files, or folders, below a folder. `read(path)` does with a mutated one what a command
    would do; it may raise UserError and nothing else. `mutated` names the file of a folder that is changed ("" for the
    path itself, "*" for any).
    """

    seeds: Callable[[Path], list[Path]]
    read: Callable[[Path], object]
    mutated: str = ""
    share: int = 1
    """How often it is drawn in relation to the others."""


def speech(seconds: float = 0.7) -> np.ndarray:
    """Noise of a speech-like spectrum, float32."""
    noise = np.random.default_rng(0).standard_normal(round(seconds * RATE))
    smooth = np.convolve(noise, np.hanning(32), mode="same")
    return np.asarray(0.5 * smooth / np.abs(smooth).max(), dtype=np.float32)


def _audio_seeds(folder: Path) -> list[Path]:
    paths = []
    for suffix, subtype in (
        ("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("wav", "ULAW"), ("wav", "MS_ADPCM"), ("wav", "GSM610"),
        ("flac", "PCM_16"), ("mp3", "MPEG_LAYER_III"), ("ogg", "VORBIS"), ("ogg", "OPUS"), ("aiff", "PCM_16"),
        ("au", "PCM_16"), ("caf", "PCM_16"), ("caf", "ALAC_16"), ("w64", "PCM_16"), ("rf64", "PCM_16"),
        ("voc", "PCM_16"), ("sf", "PCM_16"), ("nist", "PCM_16"), ("paf", "PCM_16"), ("htk", "PCM_16"),
        ("mat", "PCM_16"), ("pvf", "PCM_16"), ("avr", "PCM_16"), ("wve", "ALAW"),
    ):  # fmt: skip
        kind = {"sf": "IRCAM", "mat": "MAT5", "rf64": "RF64", "nist": "NIST"}.get(suffix, suffix.upper())
        path = folder / f"{subtype}.{suffix}"
        rate = 8_000 if subtype in ("GSM610", "ALAW") else RATE
        soundfile.write(path, speech(), rate, subtype=subtype, format=kind)
        paths.append(path)
    for suffix, codec in (
        ("m4a", "aac"), ("aac", "aac"), ("webm", "libopus"), ("mkv", "flac"), ("mkv", "libvorbis"), ("ts", "aac"),
        ("avi", "libmp3lame"), ("flv", "aac"), ("ac3", "ac3"), ("eac3", "eac3"), ("tta", "tta"),
        ("wv", "wavpack"), ("mp2", "mp2"), ("mov", "alac"), ("amr", "libopencore_amrnb"), ("spx", "libspeex"),
    ):  # fmt: skip
        if codec in av.codecs_available:
            paths.append(_encoded(folder / f"{codec}.{suffix}", codec))
    return paths


def _encoded(path: Path, codec: str) -> Path:
    rate = 8_000 if "amr" in codec else 48_000
    with av.open(str(path), "w", format="ogg" if path.suffix == ".spx" else None) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(speech()[None], format="fltp", layout="mono")
        frame.rate = RATE
        fitting = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate)
        fifo = av.AudioFifo()
        for part in fitting.resample(frame):
            fifo.write(part)
        size = stream.codec_context.frame_size or 1024
        while (part := fifo.read(size) or fifo.read()) is not None:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def _read_audio(path: Path) -> None:
    from wav2vec2.audio.read import audio_info, read_audio
    from wav2vec2.audio.recordings import Recording, open_recording

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = open_recording(path)
    if isinstance(opened, Recording):
        assert audio_info(path).samples > 0
        assert len(opened.read(0, min(opened.samples, 100))) == min(opened.samples, 100)
        read_audio(path, start=opened.samples // 2, samples=1)
    read_audio(path.read_bytes())


def _model_seeds(folder: Path) -> list[Path]:
    """A small recogniser in the format of every tool, and exported."""
    from tests.checkpoints.made_up_models import STANDARD
    from tests.small_models import GROUP, SMALLEST, recognizer

    from wav2vec2.checkpoints.convert import ConvertOptions, run
    from wav2vec2.checkpoints.huggingface.directory import save
    from wav2vec2.export.formats import write_onnx, write_program
    from wav2vec2.inference.exported import ExportMetadata

    architecture = replace(GROUP, **SMALLEST)
    model = recognizer(architecture, STANDARD)
    save(model, folder / "huggingface")
    with contextlib.redirect_stdout(io.StringIO()):
        for tool in ("fairseq", "fairseq2", "torchaudio"):
            run(ConvertOptions(model=str(folder / "huggingface"), out=folder / tool, to=tool))
    metadata = ExportMetadata(architecture, STANDARD, log_softmax=True, precision="float32")
    write_program(model, folder / "program.pt2", metadata)
    write_onnx(model, folder / "graph.onnx", metadata)
    return sorted(folder.iterdir())


def _read_model(path: Path) -> None:
    from wav2vec2.inference.acoustic_model import load_recognizer

    model = load_recognizer(path)
    with torch.inference_mode():
        model(torch.zeros(1, 4_000), torch.tensor([4_000]))


def _checkpoint_seeds(folder: Path) -> list[Path]:
    from wav2vec2.train.checkpoint.folder import Checkpoints

    return [Checkpoints(folder, 1).save(1, _tensors(), {"update": 1})]


def _tensors() -> dict[str, Any]:
    return {"model": {"w": torch.ones(3, 2)}, "sums": {"s": torch.tensor(1.0, dtype=torch.float64)}}


def _read_checkpoint(path: Path) -> None:
    from wav2vec2.train.checkpoint.contents import restore
    from wav2vec2.train.checkpoint.seal import read_state, verify

    verify(path, read_state(path))
    restore(path, _tensors())


def _manifest_seeds(folder: Path) -> list[Path]:
    from wav2vec2.data.utterance import Utterance, write_manifest

    rows = [
        Utterance(id=f"u{n}", path=f"a/{n}.wav", samples=16_000, sample_rate=16_000, text="HELLO WORLD", split="train")
        for n in range(20)
    ]
    write_manifest(rows, folder / "manifest.parquet")
    lines = [{"audio_filepath": f"{n}.wav", "duration": 1.5, "text": "hello", "offset": 0} for n in range(5)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    table = 'path,text,start,end\n"a.wav","hello, world",0,1.5\nb.wav,x,1,2\n'
    (folder / "rows.csv").write_text(table, encoding="utf-8")
    (folder / "rows.tsv").write_text("path\tsentence\tclient_id\na.mp3\tBonjour.\tf00\n", encoding="utf-16")
    return sorted(folder.iterdir())


def _read_manifest(path: Path) -> None:
    from wav2vec2.data.corpora.table import scan_table
    from wav2vec2.data.manifest import Manifest

    if path.suffix != ".parquet":
        list(islice(scan_table(path), 100))
        return
    for row in islice(Manifest.open(path), 100):
        assert row.id is not None


def _settings_seeds(folder: Path) -> list[Path]:
    from wav2vec2.decode.presets import PAPER_PRESETS, write_preset

    root = Path(__file__).resolve().parents[1]
    for recipe in ("finetune_small.toml", "pretrain_small.toml"):
        (folder / recipe).write_bytes((root / "recipes" / recipe).read_bytes())
    (folder / "lm.arpa").touch()
    write_preset(replace(PAPER_PRESETS["paper-ls-10min-4gram"], lm=str(folder / "lm.arpa")), folder / "preset.toml")
    (folder / "lm.arpa").unlink()
    return sorted(folder.iterdir())


def _read_settings(path: Path) -> None:
    from wav2vec2.config import load_recipe
    from wav2vec2.decode.presets import load_preset
    from wav2vec2.train.finetune.config import FinetuneConfig
    from wav2vec2.train.pretrain.command import PretrainConfig

    if path.name == "preset.toml":
        load_preset(path, check_lm=False)
    else:
        load_recipe(path, FinetuneConfig if "finetune" in path.name else PretrainConfig)


_WORDS = ("<unk>", "<s>", "</s>", "hello", "world", "the")


def _ngram_seeds(folder: Path) -> list[Path]:
    from wav2vec2.lm.ngram.command import NgramOptions, run

    text = folder / "text.txt"
    text.write_text("hello world\nthe world\nhello the world\n" * 20, encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()):
        run(NgramOptions(text=(text,), out=folder / "lm.arpa", order=3))
    text.unlink()
    return sorted(path for path in folder.iterdir() if path.suffix == ".arpa")


def _read_ngram(path: Path) -> None:
    from wav2vec2.lm.ngram.model import NgramModel

    model = NgramModel.load(path)
    tokens = np.array([model.index("hello"), model.index("nobody")])
    model.score(np.array([model.start(), model.start()]), tokens)


def _kenlm_seeds(folder: Path) -> list[Path]:
    """A KenLM binary, if its program is there, else the ARPA file through the same reader."""
    (arpa, *_) = _ngram_seeds(folder)
    binary = folder / "lm.bin"
    if shutil.which("build_binary"):
        subprocess.run(["build_binary", arpa, binary], check=True, capture_output=True)
        arpa.unlink()
        return [binary]
    return [arpa]


def _read_kenlm(path: Path) -> None:
    from wav2vec2.lm.ngram.kenlm_file import KenlmFile

    model = KenlmFile(path)
    for word in _WORDS:
        _, (following, *_) = model.score(np.array([model.start()]), np.array([model.index(word)]))
        model.score(np.array([following]), np.array([model.index("hello")]))


TARGETS = {
    "audio": Target(_audio_seeds, _read_audio, share=10),
    "model": Target(_model_seeds, _read_model, mutated="*", share=4),
    "checkpoint": Target(_checkpoint_seeds, _read_checkpoint, mutated="*", share=2),
    "manifest": Target(_manifest_seeds, _read_manifest, share=4),
    "settings": Target(_settings_seeds, _read_settings, share=2),
    "ngram": Target(_ngram_seeds, _read_ngram, share=2),
    "kenlm": Target(_kenlm_seeds, _read_kenlm),
}
"""Every kind of file, by name."""
