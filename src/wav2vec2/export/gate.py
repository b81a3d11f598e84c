"""The comparison that an exported file must pass before it is kept: its outputs and its text against the model's.

The file's outputs for each waveform, alone and in a padded batch, are compared with the model's for each waveform
alone. Texts are compared on recordings, or by error rates on a manifest. A file that disagrees with the model is
refused in one line that gives the difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wav2vec2.audio.normalize import normalize_waveform
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Failure, audio_files, open_recording
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.waveforms import read_utterance
from wav2vec2.errors import UserError
from wav2vec2.evaluation.evaluate import EvaluateConfig, evaluate
from wav2vec2.inference.exported import ExportedRecognizer
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.text.error_rate import character_errors

_COMPARED_SAMPLES = 20 * SAMPLE_RATE
_COMPARED_RECORDINGS = 6


@dataclass(frozen=True)
class Limits:
    """The largest differences allowed.

    tolerance: difference of float32 outputs, relative to max(1, largest output). error_rate: increase of the WER (or
    CER) on a manifest, in percentage points. text: character error rate against the model's text, in percent.
    """

    tolerance: float = 1e-4
    error_rate: float = 0.3
    text: float = 1.0


@dataclass(frozen=True)
class Agreement:
    """The differences found.

    difference: largest difference of outputs, as in `Limits.tolerance`. error_rates: the model's and the file's, in
    percent. text: as in `Limits.text`.
    """

    difference: float
    error_rates: tuple[float, float] | None = None
    text: float | None = None

    def __str__(self) -> str:
        parts = [f"largest difference of outputs {self.difference:.2g}"]
        if self.error_rates is not None:
            parts.append("error rate {:.2f} % (model {:.2f} %)".format(*reversed(self.error_rates)))
        if self.text is not None:
            parts.append(f"{self.text:.2f} % of characters differ")
        return ", ".join(parts)


def check_export(
    transcriber: Transcriber, exported: ExportedRecognizer, check: str | None, split: str | None, limits: Limits
) -> Agreement:
    """Compare an exported file with its model.

    Args:
        transcriber: the model.
        exported: the file.
        check: an audio file, a folder of audio, or a manifest; None: noise.
        split: splits of the manifest to use; None: all.
        limits: the largest differences allowed.

    Raises:
        UserError: a limit is exceeded, or the audio cannot be read.
    """
    ours = Transcriber(exported, device="cpu")
    if check is None:
        waveforms = _noise(transcriber.architecture.normalization_epsilon)
        found = Agreement(compare_outputs(transcriber.model, exported, waveforms))
    elif _is_manifest(check):
        manifest = Manifest.open(check, split=split)
        rows = range(min(len(manifest), _COMPARED_RECORDINGS))
        waveforms = _waveforms([read_utterance(manifest.utterance(row)) for row in rows], transcriber)
        config = EvaluateConfig(model="", manifest=check, replications=1)
        reports = [evaluate(side, manifest, config) for side in (transcriber, ours)]
        for report in reports:
            if report.failures:
                raise UserError(f"{report.failures[0].source}: {report.failures[0].message}")
        before, after = (100 * getattr(report, reports[0].main).counts.rate for report in reports)
        found = Agreement(compare_outputs(transcriber.model, exported, waveforms), error_rates=(before, after))
    else:
        files = audio_files([check])
        waveforms = _waveforms(files, transcriber)
        counts = [character_errors(transcriber(file).text, ours(file).text) for file in files]
        rate = 100 * sum(count.errors for count in counts) / max(1, sum(count.reference for count in counts))
        found = Agreement(compare_outputs(transcriber.model, exported, waveforms), text=rate)
    _judge(found, limits, exact=exported.metadata.precision == "float32")
    return found


def _judge(found: Agreement, limits: Limits, *, exact: bool) -> None:
    refused = "the exported file does not agree with the model and was not written"
    if not found.difference < float("inf") or (exact and found.difference > limits.tolerance):
        raise UserError(
            f"{refused}: outputs differ by {found.difference:.2g}; --tolerance allows at most {limits.tolerance:.2g}"
        )
    if found.error_rates is not None and not found.error_rates[1] - found.error_rates[0] <= limits.error_rate:
        rates = "error rate {1:.2f} % against the model's {0:.2f} %".format(*found.error_rates)
        raise UserError(f"{refused}: {rates}; --max-error-increase allows at most {limits.error_rate:g} points more")
    if found.text is not None and not found.text <= limits.text:
        raise UserError(
            f"{refused}: {found.text:.2f} % of characters differ; --max-text-difference allows at most "
            f"{limits.text:g} %"
        )


@torch.inference_mode()
def compare_outputs(
    model: Wav2Vec2ForCTC | ExportedRecognizer, exported: ExportedRecognizer, waveforms: Sequence[Tensor]
) -> float:
    """Return the largest difference from the model's output for each utterance alone, relative to max(1, its peak).

    The file runs on each utterance alone and, if it is float32, on the padded batch too. (In int8 the range by which
    activations are quantized depends on the batch.)
    """
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    samples = max(int(lengths.max()), exported.metadata.minimum_samples)
    batch = torch.stack([torch.nn.functional.pad(w, (0, samples - len(w))) for w in waveforms])
    runs = [exported(batch, lengths)]
    if exported.metadata.precision == "float32":
        runs.append(exported.run(batch, lengths))
    worst = 0.0
    for row, waveform in enumerate(waveforms):
        logits, frames = model(waveform[None])
        expected = logits.log_softmax(-1)[0] if exported.metadata.log_softmax else logits[0]
        for outputs, counts in runs:
            if int(counts[row]) != int(frames[0]) or not outputs[row].isfinite().all():
                return float("inf")
            if len(expected):
                difference = (outputs[row, : len(expected)] - expected).abs().max() / expected.abs().max().clamp_min(1)
                worst = max(worst, float(difference))
    return worst


def _is_manifest(check: str) -> bool:
    path = Path(check)
    if path.is_dir():
        return any(path.glob("*.parquet")) or any(path.glob("*.arrow"))
    return "*" in check or "://" in check or path.suffix in (".parquet", ".arrow")


def _noise(epsilon: float | None) -> list[Tensor]:
    """Return noise of several lengths and levels, one of them shorter than two frames."""
    generator = torch.Generator().manual_seed(0)
    sizes = ((48_000, 0.1), (31_333, 0.02), (16_001, 0.3), (500, 0.1))
    noise = [loudness * torch.randn(samples, generator=generator) for samples, loudness in sizes]
    if epsilon is None:
        return noise
    return [torch.from_numpy(normalize_waveform(w.numpy(), epsilon)) for w in noise]


def _waveforms(sources: Sequence[Any], transcriber: Transcriber) -> list[Tensor]:
    """Return the beginnings of a few recordings, normalised if the model expects that."""
    epsilon = transcriber.architecture.normalization_epsilon
    found: list[Tensor] = []
    for source in sources[:_COMPARED_RECORDINGS]:
        recording = open_recording(source)
        if isinstance(recording, Failure):
            raise UserError(recording.message)
        waveform = recording.read(0, min(recording.samples, _COMPARED_SAMPLES))
        if epsilon is not None:
            waveform = normalize_waveform(waveform, epsilon)
        found.append(torch.from_numpy(waveform))
    return found or _noise(epsilon)
