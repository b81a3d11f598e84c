"""CTC forced alignment: the most probable path of a known label sequence through the frames (Viterbi).

A path has one symbol per frame. There may be blanks between the labels, before the first and after the last; a label
may last several frames; two equal labels in a row need a blank between them. This gives 2 L + 1 states: blank, label 1,
blank, ..., label L, blank.

Time is O(T L). Memory stays far below the textbook's T (2 L + 1) back pointers: the forward pass keeps the scores
of every K-th frame only, and the backward pass recomputes one block of K frames at a time. A block that ends in state s
can only have passed through the 2 K states before s, so that recomputing all blocks costs at most 2 K T. With
K = (2 T S)^(1/3), S = 2 L + 1, at most 6 (2 T S)^(2/3) bytes are needed besides the emissions: 69 MB for one hour and
54,000 labels.

Legend: T frames, V symbols, L labels, S = 2 L + 1 states, K frames a block.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wav2vec2.decode.hypothesis import Emissions
from wav2vec2.errors import UserError
from wav2vec2.lm.compiled import compiled

_Scores = NDArray[np.float64]
_Indices = NDArray[np.int64]
_ABOVE_ZERO = 1e-2  # log-probabilities of a float16 or bfloat16 softmax may be slightly above zero


@dataclass(frozen=True)
class LabelAlignment:
    """The frames of each label on the best path.

    first, last: (L,) int64, each label's first and last frame, both included. log_probabilities: (L,) float64, the sum
    over these frames (nats). log_probability: that of the whole path, blanks included. frames: T.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    log_probabilities: NDArray[np.float64]
    log_probability: float
    frames: int

    @property
    def scores(self) -> NDArray[np.float64]:
        """Geometric mean of each label's posterior over its frames, (L,), in [0, 1]."""
        return np.exp(np.minimum(self.log_probabilities / (self.last - self.first + 1), 0.0))


def align_labels(
    emissions: NDArray[Any], labels: Sequence[int], *, blank: int = 0, name: str = "emissions"
) -> LabelAlignment:
    """Find the most probable path of `labels` (L ids, no blanks) through `emissions` (T, V), log-probabilities in nats.

    Without labels the path consists of blanks. Of equally probable paths, the one whose last label begins earliest is
    returned; if that is equal too, the label before it decides, and so on. Emissions are read as float32 and summed as
    float64. `name` is the recording's name in messages. Python's lock is released during the computation.

    Raises:
        UserError: too few frames for the labels (a repeat needs one more), NaN, or a text with probability zero.
        ValueError: emissions that are not (T, V) log-probabilities, or labels that are not among their V symbols.
    """
    targets = np.asarray(labels, dtype=np.int64)
    _check(emissions, targets, blank, name)
    frames, count = len(emissions), len(targets)
    repeated = np.concatenate([[False], targets[1:] == targets[:-1]])[:count]
    _check_fit(frames, count, int(repeated.sum()), name)
    wide = np.ascontiguousarray(emissions, dtype=np.float32)
    if not count or not frames:
        none = np.zeros(0, dtype=np.int64)
        return LabelAlignment(none, none, np.zeros(0), float(wide[:, blank].sum(dtype=np.float64)), frames)
    block = block_frames(frames, count)
    barred = np.where(repeated, -np.inf, 0.0)
    kept = np.full((-(-frames // block), 2 * count + 1), -np.inf)
    best, end = _forward(wide, targets.astype(np.uint32), np.uint32(blank), barred, block, kept)
    if best == -np.inf:
        raise UserError(f"{name}: the model gives the text probability zero; check that it belongs to this recording")
    states = np.empty(frames, dtype=np.int64)
    pointers = np.empty((block, min(2 * block, 2 * count) + 1), dtype=np.uint8)
    for index in range(len(kept) - 1, -1, -1):
        start = index * block
        stop = min(start + block, frames)
        end = _backward(wide[start:stop], targets, blank, barred, kept[index], end, pointers, states[start:stop])
    return _runs(wide, targets, states, best)


def block_frames(frames: int, labels: int) -> int:
    """Return K, the frames per block, for which the kept rows of scores and the back pointers of a block together need
    the least memory.
    """
    return max(1, min(frames, math.ceil(math.cbrt(2 * frames * (2 * labels + 1)))))


def _check(emissions: NDArray[Any], labels: NDArray[np.int64], blank: int, name: str) -> None:
    if emissions.ndim != 2 or not np.issubdtype(emissions.dtype, np.floating):
        raise ValueError(f"emissions must be (T, V) floats, not {emissions.dtype} of shape {emissions.shape}")
    if labels.ndim != 1 or not 0 <= blank < emissions.shape[1]:
        raise ValueError(f"labels must be a flat list, and blank {blank} one of {emissions.shape[1]} symbols")
    if len(labels) and (labels.min() < 0 or labels.max() >= emissions.shape[1] or (labels == blank).any()):
        raise ValueError(f"labels must be among {emissions.shape[1]} symbols and none of them the blank")
    highest = emissions.max(initial=-np.inf)  # NaN if one is
    if np.isnan(highest):
        raise UserError(f"{name}: the model's log-probabilities contain NaN; check the model and the recording")
    if highest > _ABOVE_ZERO:
        raise ValueError("emissions must be log-probabilities, at most 0: take log_softmax of the logits")


def _check_fit(frames: int, labels: int, repeats: int, name: str) -> None:
    if frames >= labels + repeats:
        return
    need = f"{labels} labels and {repeats} repeats (equal neighbours need a blank between them)"
    raise UserError(
        f"{name}: the text does not fit: {need} need {labels + repeats} frames, and there are {frames}; "
        "check that the text belongs to this recording and contains no more than is spoken"
    )


def _runs(emissions: Emissions, labels: NDArray[np.int64], states: NDArray[np.int64], best: float) -> LabelAlignment:
    spoken = np.flatnonzero(states & 1)
    places = states[spoken] >> 1
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    stops = np.append(starts[1:], len(places)) - 1
    sums = np.add.reduceat(emissions[spoken, labels[places]].astype(np.float64), starts)
    return LabelAlignment(spoken[starts], spoken[stops], sums, float(best), len(states))


@compiled
def _step(
    here: _Scores,
    pause: _Scores,
    before: _Scores,
    gate: _Scores,
    wanted: _Indices,
    scores: NDArray[Any],
    quiet: np.float64,
    new_here: _Scores,
    new_pause: _Scores,
) -> None:
    """Compute one frame for a range of labels and the blanks before them, in two loops that the compiler vectorises."""
    for place in range(len(here)):
        new_here[place] = scores[wanted[place]]
    for place in range(len(here)):
        stay, enter = here[place], pause[place]
        skip = before[place] + gate[place]
        best = stay if stay > enter else enter
        new_here[place] += best if best > skip else skip
        new_pause[place] = (enter if enter > before[place] else before[place]) + quiet


@compiled
def _forward(
    emissions: NDArray[Any], labels: _Indices, blank: int | np.uint32, barred: _Scores, block: int, kept: NDArray[Any]
) -> tuple[Any, int]:
    """Fill `kept` (row k: the scores of all states before frame k * block); return the best score and its last state.

    Blanks and labels are in separate arrays, so that the inner loop has no branches. Only those states are visited that
    can be reached so far and that leave enough frames for the rest.
    """
    frames, count = len(emissions), len(labels)
    blanks, new_blanks = np.full(count + 1, -np.inf), np.full(count + 1, -np.inf)
    # The extra place in front, which no path reaches, stands for the label before the first.
    marks, new_marks = np.full(count + 1, -np.inf), np.full(count + 1, -np.inf)
    blanks[0] = 0.0
    first = last = 0
    for frame in range(frames):
        if frame % block == 0:
            row = kept[frame // block]
            for place in range(first, last + 1):
                row[2 * place] = blanks[place]
            for place in range(first, last):
                row[2 * place + 1] = marks[place + 1]
        first, last = max(0, count - frames + frame), min(count, frame + 1)
        scores = emissions[frame]
        quiet = np.float64(scores[blank])
        here, before, pause = marks[first + 1 : last + 1], marks[first:last], blanks[first:last]
        gate, wanted = barred[first:last], labels[first:last]
        new_here, new_pause = new_marks[first + 1 : last + 1], new_blanks[first:last]
        _step(here, pause, before, gate, wanted, scores, quiet, new_here, new_pause)
        new_blanks[last] = max(blanks[last], marks[last]) + quiet
        blanks, new_blanks = new_blanks, blanks
        marks, new_marks = new_marks, marks
    if blanks[count] > marks[count]:
        return blanks[count], 2 * count
    return marks[count], 2 * count - 1


@compiled
def _backward(
    emissions: NDArray[Any],
    labels: _Indices,
    blank: int,
    barred: _Scores,
    scores: NDArray[Any],
    end: int,
    pointers: NDArray[Any],
    states: NDArray[Any],
) -> Any:
    """Write the states of the best path through a block that ends in state `end`; return the state before the block.

    scores: (S,), before the block. pointers: room for (frames, reachable states) steps of 0, 1 or 2.
    """
    frames = len(emissions)
    lowest = max(0, end - 2 * frames)
    window = scores[lowest : end + 1].copy()
    for frame in range(frames):
        quiet = np.float64(emissions[frame, blank])
        for place in range(len(window) - 1, -1, -1):  # downwards: lower places still hold the last frame
            state = lowest + place
            best, step = window[place], 0
            if place >= 1 and window[place - 1] > best:
                best, step = window[place - 1], 1
            if state & 1 and place >= 2 and window[place - 2] + barred[state >> 1] > best:
                best, step = window[place - 2], 2
            window[place] = best + (np.float64(emissions[frame, labels[state >> 1]]) if state & 1 else quiet)
            pointers[frame, place] = step
    state = end
    for frame in range(frames - 1, -1, -1):
        states[frame] = state
        state -= int(pointers[frame, state - lowest])
    return state
