"""Our converted files in the real torchaudio, fairseq and fairseq2: largest difference of outputs on real audio.

    pip download --no-deps torchaudio==2.11.0
    unzip torchaudio-*.whl -d tools && rm -r tools/torchaudio/lib
    python scripts/compare_with_tools.py torchaudio tools call.wav --model runs/finetune/model

    pip download --no-deps --no-binary :all: fairseq==0.12.2 && tar xf fairseq-0.12.2.tar.gz
    python scripts/compare_with_tools.py fairseq fairseq-0.12.2 call.wav

    pip download --no-deps fairseq2==0.8.1 && unzip fairseq2-*.whl -d tools
    python scripts/compare_with_tools.py fairseq2 tools call.wav

The folder is put first on Python's path. torchaudio's compiled library needs its own torch; without it its Python code,
which holds the model, runs beside any. fairseq cannot be imported on Python 3.11: its model files can, with stand-ins
for the packages around them (registry, configuration, sharding); fairseq2's likewise, without fairseq2n. Beside
--model random models of both families are compared, of published width with two layers. Exit status 1 where a
difference is above 5e-5 of the largest output; the tools load strictly.
"""

import argparse
import functools
import importlib
import json
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import wav2vec2
from wav2vec2.audio.normalize import normalize_waveform
from wav2vec2.audio.recordings import Failure, open_recording
from wav2vec2.checkpoints.convert import write
from wav2vec2.model.architecture import ARCHITECTURES
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import Vocabulary

TOLERANCE = 5e-5
SYMBOLS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")
Run = Callable[[Tensor], Tensor]


def torchaudio_model(file: Path) -> tuple[str, Run]:
    """Their model of our file: waveforms (B, S) -> emissions."""
    import torchaudio
    from torchaudio.models import wav2vec2_model

    described = json.loads(file.with_suffix(".json").read_text())
    model = wav2vec2_model(**described["arguments"]).eval()
    model.load_state_dict(torch.load(file, weights_only=True))
    return torchaudio.__version__, lambda waveforms: model(waveforms)[0]


def fairseq_model(file: Path) -> tuple[str, Run]:
    """Their pre-training model's context vectors, or, of a fine-tuned file, with its output layer applied."""
    module = importlib.import_module("fairseq.models.wav2vec.wav2vec2")
    content = torch.load(file, weights_only=True)
    settings, state = content["cfg"]["model"], content["model"]
    head = None
    if "w2v_encoder.proj.weight" in state:
        settings = settings["w2v_args"]["model"]
        head = (state["w2v_encoder.proj.weight"], state["w2v_encoder.proj.bias"])
        prefix = "w2v_encoder.w2v_model."
        state = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
    config = module.Wav2Vec2Config()
    for name, value in settings.items():
        if hasattr(config, name):
            setattr(config, name, value)
    model = module.Wav2Vec2Model(config)
    if head is not None:
        model.remove_pretraining_modules()
    model.load_state_dict(state)
    model.eval()

    def run(waveforms: Tensor) -> Tensor:
        context = model(waveforms, mask=False, features_only=True)["x"]
        return context if head is None else nn.functional.linear(context, *head)

    return "0.12.2", run


def fairseq2_model(file: Path) -> tuple[str, Run]:
    """Their pre-training model's context vectors, or their fine-tuned model's logits."""
    from fairseq2.models.transformer import TransformerNormOrder
    from fairseq2.models.wav2vec2 import Wav2Vec2Config, Wav2Vec2Factory
    from fairseq2.models.wav2vec2.asr.config import Wav2Vec2AsrConfig
    from fairseq2.models.wav2vec2.asr.factory import Wav2Vec2AsrFactory
    from fairseq2.nn import BatchLayout

    described = json.loads((file.parent / "model.yaml").read_text())
    ctc = described["model_family"] == "wav2vec2_asr"
    config = Wav2Vec2AsrConfig() if ctc else Wav2Vec2Config()
    for target, settings in ((config, "model_config"), (config.encoder_config, "encoder_config")):
        facts = described["model_config"] if settings == "model_config" else described["model_config"][settings]
        for name, value in facts.items():
            if not hasattr(target, name):
                raise SystemExit(f"model.yaml: {name} is unknown there")
            if name != "encoder_config":
                setattr(target, name, TransformerNormOrder[value] if name == "norm_order" else value)
    model = (Wav2Vec2AsrFactory if ctc else Wav2Vec2Factory)(config).create_model().eval()
    model.load_state_dict(torch.load(file, weights_only=True)["model"])

    def run(waveforms: Tensor) -> Tensor:
        layout = BatchLayout(tuple(waveforms.shape), seq_lens=None)
        if ctc:
            return model(waveforms, layout)[0]
        features, layout, _ = model.encoder_frontend.extract_features(waveforms, layout)
        return model.encoder(model.encoder_frontend.process_features(features, layout)[0], layout)

    return sys.modules["fairseq2n"].__version__, run


def _package(folder: Path, name: str, **content: Any) -> types.ModuleType:
    """Put an empty package in place of one whose own __init__ imports too much; its modules are found as ever."""
    module = types.ModuleType(name)
    module.__path__ = [str(folder / name.replace(".", "/"))]
    module.__dict__.update(content)
    sys.modules[name] = module
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)
    return module


def fairseq2_stand_ins(folder: Path) -> None:
    """Without its native part, which only reads data, and without its registry of models."""
    _package(folder, "fairseq2n", DOC_MODE=True, __version__="0.8.1")
    for name in ("fairseq2", "fairseq2.models"):
        _package(folder, name)
    speech = _package(folder, "fairseq2.models.wav2vec2")
    _package(folder, "fairseq2.models.wav2vec2.asr")
    # one process on the CPU, said before the layers ask their registry for it
    devices, gangs = (importlib.import_module(f"fairseq2.{name}") for name in ("device", "gang"))
    alone = gangs.create_fake_gangs(torch.device("cpu"))
    devices.get_current_device = lambda: torch.device("cpu")
    gangs.get_current_gangs = lambda _device=None: alone
    for name in ("config", "factory", "frontend", "masker", "model"):
        speech.__dict__.update(vars(importlib.import_module(f"fairseq2.models.wav2vec2.{name}")))


def fairseq_stand_ins(folder: Path) -> None:
    """Make fairseq's model files importable."""
    package = functools.partial(_package, folder)
    package("fairseq")
    package("fairseq.dataclass", FairseqDataclass=dataclass(type("FairseqDataclass", (), {})))
    sys.modules["fairseq.dataclass"].ChoiceEnum = importlib.import_module("fairseq.dataclass.constants").ChoiceEnum
    package("fairseq.distributed", fsdp_wrap=lambda module, **_: module)
    package("fairseq.distributed.utils")
    package("fairseq.data", Dictionary=object)
    sys.modules["fairseq"].utils = importlib.import_module("fairseq.utils")
    package(
        "fairseq.models",
        BaseFairseqModel=type("BaseFairseqModel", (nn.Module,), {}),
        register_model=lambda *_, **__: lambda chosen: chosen,
    )
    package("fairseq.models.transformer", TransformerConfig=object)
    package("fairseq.models.wav2vec")


def models(chosen: list[str]) -> Iterator[tuple[str, Any]]:
    for source in chosen:
        yield source, wav2vec2.load(source)
    torch.manual_seed(0)
    for size in ("base", "large", "large_lv60k"):
        architecture = replace(ARCHITECTURES[size], layers=2, name="custom")
        yield f"{size}, 2 layers, CTC", Wav2Vec2ForCTC(architecture, Vocabulary(SYMBOLS)).eval()
        yield f"{size}, 2 layers, pre-training", Wav2Vec2ForPretraining(architecture).eval()


@torch.inference_mode()
def ours(model: Any, waveforms: Tensor, tool: str) -> Tensor:
    """What the tool's model gives of the same weights; torchaudio and fairseq2 keep the blank and the symbols alone."""
    if not isinstance(model, Wav2Vec2ForCTC):
        return model.encode(waveforms)[0]
    logits = model(waveforms)[0]
    return logits[..., [0, *range(4, logits.shape[-1])]] if tool == "torchaudio" else logits


def difference(model: Any, run: Run, files: list[str], tool: str) -> float:
    worst = 0.0
    for file in files:
        recording = open_recording(file)
        if isinstance(recording, Failure):
            raise SystemExit(recording.message)
        samples = recording.read(0, recording.samples)
        waveform = normalize_waveform(samples) if model.architecture.normalize_input else samples
        waveforms = torch.from_numpy(waveform)[None]
        with torch.inference_mode():
            theirs = run(waveforms)
        mine = ours(model, waveforms, tool)
        if mine.shape != theirs.shape:
            raise SystemExit(f"{file}: shapes differ: {tuple(mine.shape)} and {tuple(theirs.shape)}")
        worst = max(worst, float((mine - theirs).abs().max() / theirs.abs().max().clamp_min(1)))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=["torchaudio", "fairseq", "fairseq2"])
    parser.add_argument("folder", type=Path, help="where the tool is unpacked")
    parser.add_argument("audio", nargs="+", help="recordings of some seconds")
    parser.add_argument("--model", action="append", default=[], help="a model directory to convert and compare")
    o = parser.parse_args()
    sys.path.insert(0, str(o.folder.resolve()))
    if o.tool == "fairseq":
        fairseq_stand_ins(o.folder.resolve())
    elif o.tool == "fairseq2":
        fairseq2_stand_ins(o.folder.resolve())
    opened = {"torchaudio": torchaudio_model, "fairseq": fairseq_model, "fairseq2": fairseq2_model}[o.tool]
    failed = False
    for name, model in models(o.model):
        with tempfile.TemporaryDirectory() as folder:
            try:
                file = write(model, Path(folder), o.tool)[0]
            except wav2vec2.errors.UserError as error:
                print(f"{name}: refused: {error}")
                continue
            version, run = opened(file)
            found = difference(model, run, o.audio, o.tool)
        failed |= not found <= TOLERANCE
        print(f"{name}: {o.tool} {version}, {len(o.audio)} recordings, largest relative difference {found:.2g}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
