"""An exported recogniser in ONNX Runtime against our eager model: differences, error rates, sizes and speed.

    python benchmarks/export.py --speech ../shared/speech --json export.json
    python benchmarks/export.py --model runs/finetune/model --manifest data/test --split test-clean+test-other

Speed is measured on random weights of a published size, or on --model, one utterance at a time in the order of the
manifest, all forms in turn, in wall time and CPU time. Error rates (greedy) need a trained --model and a --manifest
with transcripts; a form passes if its rate is at most 0.3 points above the model's.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from machine import machine
from speech import speech_root, utterances

from wav2vec2.audio.normalize import normalize_waveform
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.manifest import Manifest
from wav2vec2.errors import UserError
from wav2vec2.evaluation.evaluate import EvaluateConfig, evaluate
from wav2vec2.export.formats import write_onnx
from wav2vec2.inference.exported import ExportMetadata, OnnxModel, Precision
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.model.architecture import ARCHITECTURES
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.text.vocabulary import Vocabulary

FORMS = get_args(Precision)
ALLOWED_POINTS = 0.3


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, help="folder of speech (default: WAV2VEC2_SHARED/speech)")
    parser.add_argument("--speech-split", default="test-clean", help="split of its manifest.tsv, or subfolder")
    parser.add_argument("--utterances", type=int, default=50)
    parser.add_argument("--architecture", default="base", choices=sorted(ARCHITECTURES))
    parser.add_argument("--model", type=Path, help="a trained model instead of random weights")
    parser.add_argument("--manifest", help="manifest with transcripts, for error rates")
    parser.add_argument("--split", help="splits of that manifest, such as test-clean+test-other")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="file to write all measurements to")
    return parser.parse_args()


def model_of(o: argparse.Namespace) -> Transcriber:
    if o.model is not None:
        return Transcriber(o.model, device="cpu")
    torch.manual_seed(0)
    symbols = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")
    return Transcriber(Wav2Vec2ForCTC(ARCHITECTURES[o.architecture], Vocabulary(symbols)), device="cpu")


def export_all(transcriber: Transcriber, folder: Path) -> dict[str, Path]:
    files = {}
    for form in FORMS:
        files[form] = folder / f"{form.replace(' ', '-')}.onnx"
        metadata = ExportMetadata(transcriber.architecture, transcriber.vocabulary, log_softmax=False, precision=form)
        write_onnx(transcriber.model, files[form], metadata)
        print(f"{form}: written", file=sys.stderr)
    return files


def measure(sides: dict[str, Callable[..., Any]], rows: list[np.ndarray]) -> dict[str, dict[str, list[float]]]:
    """For each side, on every utterance: seconds, CPU seconds, and largest difference from eager."""
    found: dict[str, dict[str, list[float]]] = {side: {"seconds": [], "cpu": [], "difference": []} for side in sides}
    for number, row in enumerate([rows[0], *rows]):
        waveform, length = torch.from_numpy(row)[None], torch.tensor([len(row)])
        reference = None
        for side, call in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            with torch.inference_mode():
                logits = call(waveform, length)[0]
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            reference = logits if reference is None else reference
            if number:  # the first pass warms up
                found[side]["seconds"].append(wall)
                found[side]["cpu"].append(cpu)
                found[side]["difference"].append(float((logits - reference).abs().max()))
    return found


def error_rate(transcriber: Transcriber, o: argparse.Namespace) -> float:
    manifest = Manifest.open(o.manifest, split=o.split)
    config = EvaluateConfig(model="", manifest=o.manifest, replications=1)
    report = evaluate(transcriber, manifest, config)
    return float(100 * getattr(report, report.main).counts.rate)


def table(results: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| form | MB | audio s / s | audio s / CPU s | speed-up | largest difference | error rate | gate |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for form, r in results.items():
        rate = "" if r["error_rate"] is None else f"{r['error_rate']:.2f} %"
        gate = "" if r["passes"] is None else "passes" if r["passes"] else "refused"
        lines.append(
            f"| {form} | {r['megabytes']:.0f} | {r['audio_per_second']:.2f} | {r['audio_per_cpu_second']:.2f} "
            f"| {r['speed_up']:.2f}x | {r['difference']:.2g} | {rate} | {gate} |"
        )
    return "\n".join(lines)


def main() -> None:
    o = options()
    torch.set_num_threads(o.threads)
    transcriber = model_of(o)
    rows = utterances(speech_root(o.speech), o.speech_split, o.utterances, 2.0, 16.0)
    if transcriber.architecture.normalize_input:
        rows = [normalize_waveform(row) for row in rows]
    audio = sum(map(len, rows)) / SAMPLE_RATE
    with tempfile.TemporaryDirectory() as folder:
        files = export_all(transcriber, Path(folder))
        exported = {form: OnnxModel(path) for form, path in files.items()}
        measured = measure({"eager": transcriber.model, **exported}, rows)
        results: dict[str, dict[str, Any]] = {}
        for form, m in measured.items():
            side = transcriber if form == "eager" else Transcriber(exported[form], device="cpu")
            rate = error_rate(side, o) if o.manifest else None
            parameters = sum(p.numel() for p in transcriber.model.parameters())
            before = results["eager"]["error_rate"] if results else rate
            results[form] = {
                "megabytes": (4 * parameters if form == "eager" else files[form].stat().st_size) / 1e6,
                "audio_per_second": audio / sum(m["seconds"]),
                "audio_per_cpu_second": audio / sum(m["cpu"]),
                # CPU time, so that other work on a shared core does not count
                "speed_up": statistics.median(a / b for a, b in zip(measured["eager"]["cpu"], m["cpu"], strict=True)),
                "difference": max(m["difference"]),
                "error_rate": rate,
                "passes": None if rate is None else rate - before <= ALLOWED_POINTS,
            }
    about = machine(o.threads)
    print(f"\n{len(rows)} utterances, {audio:.0f} s, one at a time; speed-up: median ratio of CPU times\n")
    print(table(results))
    print(f"\n{about['cpu']}, {o.threads} threads, torch {about['torch']}")
    if o.json is not None:
        o.json.write_text(json.dumps({"machine": about, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
