"""``wav2vec2 report utterance``: a recording's spectrogram, its frames' posteriors and its text, one above the
other.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from tyro.conf import Positional, arg

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Failure, Recording, Waveform, open_recording
from wav2vec2.decode.aligned_text import align_text, unknown_text
from wav2vec2.decode.hypothesis import collapse
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel, AcousticOutput
from wav2vec2.inference.align import in_seconds
from wav2vec2.inference.align_command import text_argument
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.output.alignment import Alignment
from wav2vec2.report.page import Page
from wav2vec2.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONGEST_SECONDS = 120.0
_WINDOW, _HOP, _FFT_SIZE = 400, 160, 512  # 25 ms every 10 ms
_LOWEST_DB = -70.0
_LOWEST_POSTERIOR, _MOST_SYMBOLS = 0.05, 45
_WORD_COLOR, _SYMBOL_COLOR = "#cfe3f3", "#f6dcc8"


@dataclass(frozen=True)
class UtteranceOptions:
    """Draw the spectrogram, posteriors and alignment of a recording, in OUT/report.html and OUT/report.md.

    Without --text, the model's own transcript (greedy decoding) is aligned.
    """

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A recogniser: a model directory or checkpoint file with a CTC head."""
    audio: Annotated[str, Positional, arg(metavar="AUDIO")]
    """An audio file."""
    language: str | None = None
    """Language of a multilingual model such as facebook/mms-1b-all, by its code of three letters, such as swh."""
    text: str = ""
    """What is spoken: the words themselves, a UTF-8 text file, or - for stdin."""
    start: float = 0.0
    """Where to begin, in seconds."""
    seconds: float = 0.0
    """How much of the recording to draw; 0: up to its end. A --text is that of this part."""
    picture_seconds: float = 6.0
    """Show at most this many seconds in each picture."""
    out: Path = Path("report")
    """Folder to write to; it is created if needed."""
    device: str = "auto"
    """auto uses a GPU if there is one; or cpu, cuda, cuda:1, ..."""


def run(options: UtteranceOptions) -> None:
    """Write the report and print where it is. Raises UserError."""
    if not options.picture_seconds > 0 or options.start < 0 or options.seconds < 0:
        raise UserError("report utterance: --picture-seconds must be above 0, --start and --seconds at least 0")
    text = text_argument(options.text) if options.text else ""
    if options.text and not text.strip():
        raise UserError(f"{options.text}: the text is empty; give the spoken words, or leave --text out")
    recording, waveform = _part(options)
    compute = ComputeOptions(device=options.device)
    model = AcousticModel(options.model, compute=compute, language=options.language)
    frames = _posteriors(model, recording)
    written = model.vocabulary.decode(collapse(frames.best_path, model.vocabulary.blank).ids)
    page = Page(f"Utterance: {Path(options.audio).name}")
    page.table(["", ""], _facts(options, recording, text, written))
    alignment = _alignment(model, frames, text or written) if (text or written).strip() else None
    if alignment is None:
        page.text("The model's transcript is empty, so there is no alignment.")
    elif alignment.unknown:
        page.text(f"Symbols without a time: {unknown_text(alignment.unknown)}.")
    assert frames.log_probs is not None
    a = model.architecture
    half = a.stride / 2 / SAMPLE_RATE
    emissions = symbol_posteriors(frames.log_probs, model.vocabulary, a.frame_center(0) - half, 2 * half)
    length = recording.samples / SAMPLE_RATE
    beginnings, shown = parts(length, options.picture_seconds)
    for number, first in enumerate(beginnings, 1):
        caption = f"Seconds {first:.4g} to {first + shown:.4g}: spectrogram, posteriors, alignment"
        figure = draw_utterance(waveform, emissions, alignment, first, shown, options.start)
        page.figure(figure, caption, f"utterance_{number}")
    html, markdown = page.write(options.out)
    print(f"{html}\n{markdown}")


def _part(options: UtteranceOptions) -> tuple[Recording, Waveform]:
    """The chosen part of the recording, as a recording and as samples. Raises UserError."""
    whole = open_recording(options.audio)
    if isinstance(whole, Failure):
        raise UserError(whole.message)
    first = round(options.start * SAMPLE_RATE)
    count = min(round(options.seconds * SAMPLE_RATE) or whole.samples, whole.samples - first)
    if count <= 0:
        length = whole.samples / SAMPLE_RATE
        raise UserError(f"{options.audio}: lasts {length:.2f} s, so nothing is left after --start {options.start:g}")
    if count > _LONGEST_SECONDS * SAMPLE_RATE:
        raise UserError(
            f"{options.audio}: {count / SAMPLE_RATE:.0f} s are too long to draw; choose up to {_LONGEST_SECONDS:g} s "
            "with --start and --seconds"
        )
    samples = whole.read(first, count)
    part = replace(whole, samples=len(samples), read=lambda start, number: samples[start : start + number])
    return part, samples


def _posteriors(model: AcousticModel, recording: Recording) -> AcousticOutput:
    """The model's output for every frame. Raises UserError."""
    ((frames,),) = model.pools([recording], log_probs=True)
    if isinstance(frames, Failure):
        raise UserError(frames.message)
    if not frames.best_path:
        raise UserError(f"{recording.name}: is shorter than one frame of the model; give a longer part")
    return frames


def _alignment(model: AcousticModel, frames: AcousticOutput, text: str) -> Alignment:
    assert frames.log_probs is not None
    aligned = align_text(frames.log_probs, text, model.vocabulary, name=frames.recording.name)
    return in_seconds(aligned, frames.recording, model.architecture, model.vocabulary)


def _facts(options: UtteranceOptions, recording: Recording, text: str, written: str) -> list[list[str]]:
    rows = [["recording", options.audio], ["model", options.model]]
    rows.append(["seconds", f"{options.start:g} to {options.start + recording.samples / SAMPLE_RATE:.4g}"])
    return [*rows, *([["text", text]] if text else []), ["transcript", written or "(empty)"]]


@dataclass(frozen=True)
class SymbolPosteriors:
    """Posteriors of the symbols that the model considers, probabilities (N, T), and their labels (N).

    Frame f covers `step` seconds from `start` + f `step`.
    """

    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    start: float
    step: float


def spectrogram(waveform: Waveform) -> NDArray[np.float32]:
    """Power in dB below the loudest, at least -70: (257 frequencies from 0 to 8 kHz, windows of 25 ms every 10 ms).

    A waveform shorter than one window is padded to one.
    """
    padded = np.pad(waveform, (0, max(0, _WINDOW - len(waveform))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), _FFT_SIZE)) ** 2
    loudest = max(float(power.max()), 1e-20)
    return np.asarray(10 * np.log10(np.maximum(power.T / loudest, 10 ** (_LOWEST_DB / 10))), dtype=np.float32)


def symbol_posteriors(log_probs: NDArray[Any], vocabulary: Vocabulary, start: float, step: float) -> SymbolPosteriors:
    """Keep the blank and the symbols whose posterior reaches 0.05 anywhere, at most 45, in the vocabulary's order."""
    probabilities = np.exp(np.asarray(log_probs, dtype=np.float32).T)
    peaks = probabilities.max(1)
    order = [
        index
        for index in np.argsort(-peaks, kind="stable")[:_MOST_SYMBOLS].tolist()
        if peaks[index] >= _LOWEST_POSTERIOR
    ]
    kept = sorted({*order, vocabulary.blank}, key=lambda index: (index != vocabulary.blank, index))
    names = {vocabulary.blank: "(blank)"}
    if vocabulary.word_separator is not None:
        names[vocabulary.symbols.index(vocabulary.word_separator)] = "(space)"
    return SymbolPosteriors(tuple(names.get(i, vocabulary.symbols[i]) for i in kept), probabilities[kept], start, step)


def draw_utterance(
    waveform: Waveform,
    emissions: SymbolPosteriors,
    alignment: Alignment | None,
    first: float,
    seconds: float,
    origin: float = 0.0,
) -> "Figure":
    """Draw one part of a recording; all parts of a recording have the same scale.

    Args:
        waveform: the whole recording, 16 kHz.
        emissions: of the whole recording.
        alignment: of the whole recording; None if there is no text.
        first: where the picture begins, in seconds.
        seconds: how long it is.
        origin: where the waveform begins in its file, in seconds; shown at the axis.
    """
    from matplotlib.figure import Figure

    rows = len(emissions.labels)
    heights = [1.7, max(1.0, 0.13 * rows), *([1.05] if alignment else [])]
    figure = Figure(figsize=(12.0, sum(heights) + 0.9), layout="constrained")
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights, width_ratios=[70, 1])
    top = figure.add_subplot(grid[0, 0])
    panels = [top, *(figure.add_subplot(grid[row, 0], sharex=top) for row in range(1, len(heights)))]
    _draw_spectrogram(figure, panels[0], figure.add_subplot(grid[0, 1]), waveform)
    _draw_emissions(figure, panels[1], figure.add_subplot(grid[1, 1]), emissions)
    if alignment:
        _draw_alignment(panels[2], alignment, first, first + seconds)
        for word in alignment.words:
            if word.start is not None:
                panels[0].axvline(word.start, color="#222222", linewidth=0.6, alpha=0.5)
    for panel in panels:
        panel.set_xlim(first, first + seconds)
        panel.tick_params(labelsize=8, labelbottom=panel is panels[-1])
    panels[-1].set_xlabel(f"time after second {origin:g} (s)" if origin else "time (s)", fontsize=9)
    figure.align_ylabels(panels)
    return figure


def _draw_spectrogram(figure: Any, axes: Any, colorbar_axes: Any, waveform: Waveform) -> None:
    levels = spectrogram(waveform)
    # each window is drawn as the 10 ms around its centre
    begin = (_WINDOW - _HOP) / 2 / SAMPLE_RATE
    extent = (begin, begin + levels.shape[1] * _HOP / SAMPLE_RATE, 0, SAMPLE_RATE / 2000)
    image = axes.imshow(levels, origin="lower", aspect="auto", extent=extent, cmap="magma_r", interpolation="bilinear")
    axes.set_ylabel("frequency (kHz)", fontsize=9)
    _draw_colorbar(figure, image, colorbar_axes, "dB below loudest")


def _draw_emissions(figure: Any, axes: Any, colorbar_axes: Any, emissions: SymbolPosteriors) -> None:
    count, frames = emissions.probabilities.shape
    extent = (emissions.start, emissions.start + frames * emissions.step, count - 0.5, -0.5)
    image = axes.imshow(
        emissions.probabilities, aspect="auto", extent=extent, cmap="Blues", vmin=0, vmax=1, interpolation="nearest"
    )
    axes.set_yticks(range(count), emissions.labels)
    axes.set_ylabel("symbol", fontsize=9)
    axes.grid(axis="y", alpha=0.15)
    _draw_colorbar(figure, image, colorbar_axes, "posterior")


def _draw_colorbar(figure: Any, image: Any, colorbar_axes: Any, label: str) -> None:
    colorbar = figure.colorbar(image, cax=colorbar_axes)
    colorbar.set_label(label, fontsize=8)
    colorbar_axes.tick_params(labelsize=7)


def _draw_alignment(axes: Any, alignment: Alignment, first: float, last: float) -> None:
    """Draw words in two lanes and symbols in three, in turn, so that neighbours of one frame have room."""
    shown = (first, last)
    symbols = [symbol for word in alignment.words for symbol in word.characters if symbol.start is not None]
    for place, symbol in enumerate(symbols):
        _draw_box(axes, symbol.start, symbol.end, symbol.text, _SYMBOL_COLOR, (2.0 - place % 3, 1.0), shown, 7)
    for place, word in enumerate(alignment.words):
        _draw_box(axes, word.start, word.end, word.text, _WORD_COLOR, (4.8 - 1.5 * (place % 2), 1.3), shown, 9)
    axes.set_ylim(-0.2, 6.3)
    axes.set_yticks([1.5, 4.7], ["symbols", "words"])
    axes.set_ylabel("text", fontsize=9)
    axes.tick_params(axis="y", length=0)


def _draw_box(
    axes: Any,
    start: float | None,
    end: float | None,
    text: str,
    color: str,
    lane: tuple[float, float],
    shown: tuple[float, float],
    size: int,
) -> None:
    if start is None or end is None or not (start < shown[1] and end > shown[0]):
        return
    bottom, height = lane
    axes.broken_barh([(start, end - start)], (bottom, height), facecolors=color, edgecolor="#888888", linewidth=0.4)
    middle = (start + end) / 2
    if shown[0] <= middle < shown[1]:
        axes.text(middle, bottom + height / 2, text, ha="center", va="center", fontsize=size, clip_on=True)


def parts(seconds: float, most: float) -> tuple[list[float], float]:
    """Where the pictures of a recording begin, and their length in seconds.

    There are as few as possible, equally long, none longer than `most` seconds.
    """
    count = max(1, math.ceil(seconds / most - 1e-6))
    return [seconds / count * number for number in range(count)], seconds / count
