"""One stretch of speech as a picture: spectrogram, what the model says of every frame, and where the text lies."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Waveform
from wav2vec2.output.alignment_files import Alignment
from wav2vec2.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WINDOW, _HOP, _POINTS = 400, 160, 512  # 25 ms every 10 ms
_FLOOR = -70.0
_LEAST, _MOST = 0.05, 45
_WORD, _SYMBOL = "#cfe3f3", "#f6dcc8"


@dataclass(frozen=True)
class Emitted:
    """Posteriors of the symbols that the model considers: labels (N), probabilities (N, T); frame f is the `step`
    seconds from `start` + f `step` on.
    """

    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    start: float
    step: float


def spectrogram(waveform: Waveform) -> NDArray[np.float32]:
    """Power in dB under the loudest, (257 frequencies from 0 to 8 kHz, windows of 25 ms every 10 ms), down to -70.

    A waveform shorter than one window is padded to it.
    """
    padded = np.pad(waveform, (0, max(0, _WINDOW - len(waveform))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), _POINTS)) ** 2
    loudest = max(float(power.max()), 1e-20)
    return np.asarray(10 * np.log10(np.maximum(power.T / loudest, 10 ** (_FLOOR / 10))), dtype=np.float32)


def emitted(log_probs: NDArray[Any], vocabulary: Vocabulary, start: float, step: float) -> Emitted:
    """Keep the blank and the symbols that reach a posterior of 0.05 anywhere, at most 45 of them, in their order."""
    probabilities = np.exp(np.asarray(log_probs, dtype=np.float32).T)
    peaks = probabilities.max(1)
    order = [index for index in np.argsort(-peaks, kind="stable")[:_MOST].tolist() if peaks[index] >= _LEAST]
    kept = sorted({*order, vocabulary.blank}, key=lambda index: (index != vocabulary.blank, index))
    names = {vocabulary.blank: "(blank)"}
    if vocabulary.word_separator is not None:
        names[vocabulary.symbols.index(vocabulary.word_separator)] = "(space)"
    return Emitted(tuple(names.get(i, vocabulary.symbols[i]) for i in kept), probabilities[kept], start, step)


def draw_utterance(
    waveform: Waveform,
    emissions: Emitted,
    alignment: Alignment | None,
    first: float,
    seconds: float,
    origin: float = 0.0,
) -> "Figure":
    """Draw the part from second `first` on that lasts `seconds`; the parts of one recording have the same scale.

    Args:
        waveform: the whole recording, 16 kHz.
        emissions: of the whole recording.
        alignment: of the whole recording, None where there is no text.
        first: where the picture begins, in seconds.
        seconds: how long it is.
        origin: where the waveform begins in its file, in seconds; only the axis tells.
    """
    from matplotlib.figure import Figure

    rows = len(emissions.labels)
    heights = [1.7, max(1.0, 0.13 * rows), *([1.05] if alignment else [])]
    figure = Figure(figsize=(12.0, sum(heights) + 0.9), layout="constrained")
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights, width_ratios=[70, 1])
    top = figure.add_subplot(grid[0, 0])
    panels = [top, *(figure.add_subplot(grid[row, 0], sharex=top) for row in range(1, len(heights)))]
    _spectrogram(figure, panels[0], figure.add_subplot(grid[0, 1]), waveform)
    _emissions(figure, panels[1], figure.add_subplot(grid[1, 1]), emissions)
    if alignment:
        _alignment(panels[2], alignment, first, first + seconds)
        for word in alignment.words:
            if word.start is not None:
                panels[0].axvline(word.start, color="black", linewidth=0.6, alpha=0.5)
    for panel in panels:
        panel.set_xlim(first, first + seconds)
        panel.tick_params(labelsize=8, labelbottom=panel is panels[-1])
    panels[-1].set_xlabel(f"time after second {origin:g} (s)" if origin else "time (s)", fontsize=9)
    figure.align_ylabels(panels)
    return figure


def _spectrogram(figure: Any, axes: Any, beside: Any, waveform: Waveform) -> None:
    levels = spectrogram(waveform)
    # each window stands for the 10 ms around its middle
    begin = (_WINDOW - _HOP) / 2 / SAMPLE_RATE
    extent = (begin, begin + levels.shape[1] * _HOP / SAMPLE_RATE, 0, SAMPLE_RATE / 2000)
    image = axes.imshow(levels, origin="lower", aspect="auto", extent=extent, cmap="magma_r", interpolation="bilinear")
    axes.set_ylabel("frequency (kHz)", fontsize=9)
    _bar(figure, image, beside, "dB below loudest")


def _emissions(figure: Any, axes: Any, beside: Any, emissions: Emitted) -> None:
    count, frames = emissions.probabilities.shape
    extent = (emissions.start, emissions.start + frames * emissions.step, count - 0.5, -0.5)
    image = axes.imshow(
        emissions.probabilities, aspect="auto", extent=extent, cmap="Blues", vmin=0, vmax=1, interpolation="nearest"
    )
    axes.set_yticks(range(count), emissions.labels)
    axes.set_ylabel("symbol", fontsize=9)
    axes.grid(axis="y", alpha=0.15)
    _bar(figure, image, beside, "posterior")


def _bar(figure: Any, image: Any, beside: Any, label: str) -> None:
    colorbar = figure.colorbar(image, cax=beside)
    colorbar.set_label(label, fontsize=8)
    beside.tick_params(labelsize=7)


def _alignment(axes: Any, alignment: Alignment, first: float, last: float) -> None:
    """Words in two lanes in turn and symbols in three, so that neighbours of one frame have room."""
    shown = (first, last)
    symbols = [symbol for word in alignment.words for symbol in word.characters if symbol.start is not None]
    for place, symbol in enumerate(symbols):
        _box(axes, symbol.start, symbol.end, symbol.text, _SYMBOL, (2.0 - place % 3, 1.0), shown, 7)
    for place, word in enumerate(alignment.words):
        _box(axes, word.start, word.end, word.text, _WORD, (4.8 - 1.5 * (place % 2), 1.3), shown, 9)
    axes.set_ylim(-0.2, 6.3)
    axes.set_yticks([1.5, 4.7], ["symbols", "words"])
    axes.set_ylabel("text", fontsize=9)
    axes.tick_params(axis="y", length=0)


def _box(
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
    """Where the pictures of a recording begin, and what each shows: as few as can be, equally long, none over `most`
    seconds.
    """
    count = max(1, math.ceil(seconds / most - 1e-6))
    return [seconds / count * number for number in range(count)], seconds / count
