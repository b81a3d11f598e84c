"""``wav2vec2 report codes``: which phones the codewords of a pre-trained model stand for (appendix D).

Where each phone is spoken comes from forced alignment or from hand-made labels.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tyro.conf import OmitArgPrefixes, Positional, arg

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Failure
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance
from wav2vec2.device import usable_device
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel
from wav2vec2.inference.align import Aligner
from wav2vec2.inference.frame_outputs import ComputeOptions, frame_outputs, in_precision, nonempty_outputs
from wav2vec2.inference.manifest_rows import utterance_recording
from wav2vec2.inference.pools import Moments
from wav2vec2.inference.units import flat_units, load_quantizing_model, quantized_units
from wav2vec2.input_file import read_text
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.report.codes.cooccurrence import JOINT, CodeTable, CoOccurrence, codes_page
from wav2vec2.report.codes.phones import (
    Interval,
    Pronunciations,
    character_intervals,
    espeak_pronunciations,
    frame_labels,
    phone_intervals,
    read_phn,
    read_phone_lexicon,
)
from wav2vec2.text.phones import fold_text


@dataclass(frozen=True)
class CodesOptions:
    """Show which phones the codewords of a pre-trained model stand for, in OUT/report.html and OUT/report.md.

    A recogniser aligns the transcripts with the audio (--align MODEL), or TIMIT's .PHN files beside the audio give the
    phones (--align phn). With a recogniser, the units are characters unless --phones names a pronouncing dictionary or
    espeak; a recogniser of phones has its own.
    """

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A pre-trained model: a model directory or checkpoint file that has the quantizer."""
    manifest: Annotated[str, Positional, arg(metavar="MANIFEST")]
    """Manifest of transcribed speech: a file, folder or pattern."""
    align: str = ""
    """Required: a recogniser that aligns the transcripts; or phn, for hand-made labels in NAME.PHN beside NAME.WAV."""
    phones: str = "characters"
    """Units: characters; espeak (needs wav2vec2[phones]); or a file of 'word phone phone ...' lines (CMUdict)."""
    phone_set: Literal["39", "61"] = "39"
    """With --align phn: TIMIT's 61 labels as written, or folded to the 39 that are scored, as in the paper."""
    language: str = "en-us"
    """The language, by espeak-ng's name."""
    out: Path = Path("report")
    """Folder to write to; it is created if needed."""
    split: str | None = None
    """Only these splits of the manifest, such as dev or dev+test."""
    utterances: int = 0
    """Use only this many utterances, spread evenly over the manifest; 0: all."""
    min_frames: int = 10
    """Do not draw codewords of fewer frames, which look certain by chance."""
    compute: OmitArgPrefixes[ComputeOptions] = field(default_factory=ComputeOptions)


def run(options: CodesOptions) -> None:
    """Count phones and codewords, write the report, and print where it is. Raises UserError."""
    if not options.align:
        raise UserError("report codes: give --align MODEL (a recogniser that aligns the transcripts) or --align phn")
    if options.utterances < 0 or options.min_frames < 1:
        raise UserError("report codes: --utterances must be at least 0 and --min-frames at least 1")
    rows = chosen_utterances(Manifest.open(options.manifest, split=options.split), options)
    model = load_quantizing_model(options.model)
    tables, failed = _count(model, rows, options)
    if failed == len(rows):
        raise UserError(f"{options.manifest}: none of its {failed} utterances could be used; see the messages above")
    if not tables[JOINT].frames:
        raise UserError(f"{options.phones}: has no word of {options.manifest}; give a lexicon of this language")
    groups, entries = model.quantizer.groups, model.quantizer.entries
    sizes = {JOINT: entries**groups} | {str(group + 1): entries for group in range(groups)}
    symbol = "character" if options.phones == "characters" and options.align != "phn" else "phone"
    page = codes_page(tables, symbol, sizes, options.min_frames)
    page.text(_origin(options, len(rows) - failed, failed))
    html, markdown = page.write(options.out)
    print(f"{html}\n{markdown}")


def _count(
    model: Wav2Vec2ForPretraining, rows: Sequence[Utterance], options: CodesOptions
) -> tuple[dict[str, CodeTable], int]:
    """Counts of phones and codewords, for all codebooks jointly and for each; and the number of utterances that
    failed.
    """
    labelled = _hand_labels(rows, options) if options.align == "phn" else _aligned(rows, options)
    groups = range(model.quantizer.groups)
    counts = {JOINT: CoOccurrence()} | {str(group + 1): CoOccurrence() for group in groups}
    failed = 0
    for intervals, codes in zip(labelled, _codes(model, rows, options), strict=True):
        if isinstance(intervals, Failure) or isinstance(codes, Failure):
            failed += 1
            for failure in (found for found in (intervals, codes) if isinstance(found, Failure)):
                print(failure.message, file=sys.stderr)
            continue
        times = np.array([model.architecture.frame_center(frame) for frame in range(len(codes))])
        labels = frame_labels(intervals, times)
        counts[JOINT].add(labels, flat_units(codes, model.quantizer.entries))
        for group in groups:
            counts[str(group + 1)].add(labels, codes[:, group])
    return {name: count.table() for name, count in counts.items()}, failed


def chosen_utterances(manifest: Manifest, options: CodesOptions) -> list[Utterance]:
    """The utterances to use: those with a transcript (with --align phn, all), or some of them, evenly spread.

    Raises UserError if there is none.
    """
    rows = [utterance for utterance in manifest if options.align == "phn" or utterance.text]
    if not rows:
        raise UserError(
            f"{options.manifest}: no utterance has a transcript to align; check --split and the text column"
        )
    if options.utterances and options.utterances < len(rows):
        places = np.linspace(0, len(rows) - 1, options.utterances).round().astype(int)
        rows = [rows[place] for place in sorted(set(places.tolist()))]
    return rows


def _aligned(rows: Sequence[Utterance], options: CodesOptions) -> Iterator[list[Interval] | Failure]:
    """Intervals of the phones, or characters, of each utterance, by forced alignment."""
    pronounce = _pronunciations(rows, options)
    aligner = Aligner(AcousticModel(options.align, compute=options.compute))
    if pronounce is not None and aligner.vocabulary.unit == "whitespace":
        raise UserError(f"{options.align}: already writes phones; leave --phones out")
    for result in aligner.stream((utterance_recording(row), row.text or "") for row in rows):
        if isinstance(result, Failure):
            yield result
        else:
            yield character_intervals(result) if pronounce is None else phone_intervals(result, pronounce)


def _pronunciations(rows: Sequence[Utterance], options: CodesOptions) -> Pronunciations | None:
    words = {word for row in rows for word in (row.text or "").split()}
    if options.phones == "characters":
        return None
    if options.phones == "espeak":
        return espeak_pronunciations(words, options.language)
    known = read_phone_lexicon(options.phones)
    missing = sorted(word for word in words if known(word) is None)
    if missing:
        named = ", ".join(islice(missing, 5)) + (" ..." if len(missing) > 5 else "")
        print(
            f"{options.phones}: {len(missing)} of {len(words)} words are missing, their frames are skipped: {named}",
            file=sys.stderr,
        )
    return known


def _hand_labels(rows: Iterable[Utterance], options: CodesOptions) -> Iterator[list[Interval] | Failure]:
    """Intervals of TIMIT's labels, from the file with the recording's name and the suffix .PHN or .phn."""
    for row in rows:
        audio = Path(row.path)
        stem = audio.with_suffix("") if audio.suffix.lower() == ".wav" else audio
        names = [Path(f"{base}{suffix}") for base in (stem, stem.with_suffix("")) for suffix in (".PHN", ".phn")]
        path = next((name for name in names if name.is_file()), None)
        if path is None:
            yield Failure(row.id, f"{row.path}: has no labels ({names[0].name}) beside it; use --align MODEL")
            continue
        try:
            text = read_text(path, encoding="ascii", errors="replace")
            intervals = read_phn(
                text, str(path), sample_rate=row.sample_rate or SAMPLE_RATE, start=row.start / SAMPLE_RATE
            )
            # folding deletes the glottal stop: its frames have no label
            yield [replace(i, label=fold_text(i.label)) for i in intervals] if options.phone_set == "39" else intervals
        except OSError as error:
            yield Failure(row.id, f"{path}: cannot be read ({error.strerror})")
        except UserError as error:
            yield Failure(row.id, str(error))


def _codes(
    model: Wav2Vec2ForPretraining, rows: Iterable[Utterance], options: CodesOptions
) -> Iterator[NDArray[np.int64] | Failure]:
    """The codebook entries (T, G) of each utterance's frames."""
    device = usable_device(options.compute.device)
    model.to(device)

    def compute(waveforms: Tensor, lengths: Tensor, moments: Moments) -> list[tuple[Tensor, ...]]:
        return [(codes,) for codes in quantized_units(model, waveforms, lengths, moments)[0]]

    chosen = options.compute.precision
    exact = in_precision(compute, "float32" if chosen == "auto" else chosen, device)
    pools = frame_outputs(
        map(utterance_recording, rows), model.architecture, exact, sizes=options.compute.sizes, device=device
    )
    for result in nonempty_outputs(pools):
        yield result if isinstance(result, Failure) else result.tensors[0].numpy()


def _origin(options: CodesOptions, used: int, failed: int) -> str:
    said = {"characters": "the recogniser's own symbols", "espeak": f"phones of espeak-ng, {options.language}"}
    labels = said.get(options.phones, f"phones of `{options.phones}`")
    how = (
        f"hand-made (.PHN), {options.phone_set} phones"
        if options.align == "phn"
        else f"{labels}, transcripts aligned by `{options.align}`"
    )
    left = f"; {failed} could not be used" if failed else ""
    return f"Model `{options.model}`, {used} utterances of `{options.manifest}`{left}. Labels: {how}."
