"""CTC forced alignment: the most probable path of a known label sequence through the frames (Viterbi).

A path writes one symbol a frame. Between the labels, and before and after them, it may write blanks; a label may last
several frames; two equal labels in a row need a blank between them. These are 2 L + 1 states: blank, label 1, blank,
..., label L, blank.

Time is O(T L). Memory stays far below the T (2 L + 1) back pointers of the textbook: the forward pass keeps the scores
of every K-th frame only, and the way back recomputes one block of K frames at a time. A block that ends in state s can
only have passed through the 2 K states before s, so that recomputing all of them costs no more than 2 K T. With
K = (2 T S)^(1/3), S = 2 L + 1, at most 6 (2 T S)^(2/3) bytes are held beside the emissions: 69 MB for one hour and
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
# Log-probabilities of a float16 or bfloat16 softmax may end slightly above zero.
_ABOVE_ZERO = 1e-2


@dataclass(frozen=True)
class LabelAlignment:
    """Where each label lies on the best path.

    first, last: (L,) int64, its first and last frame, both included. log_probabilities: (L,) float64, the sum over
    these frames (nats). log_probability: of the whole path, blanks included. frames: T.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    log_probabilities: NDArray[np.float64]
    log_probability: float
    frames: int

    @property
    def scores(self) -> NDArray[np.float64]:
        """(L,): geometric mean of each label's posterior over its frames, in [0, 1]."""
        return np.exp(np.minimum(self.log_probabilities / (self.last - self.first + 1), 0.0))


def align_labels(
    emissions: NDArray[Any], labels: Sequence[int], *, blank: int = 0, name: str = "emissions"
) -> LabelAlignment:
    """Find the most probable path of `labels` (L ids, no blanks) through `emissions` (T, V), log-probabilities in nats.

    No labels give the path of blanks alone. Of equally probable paths it is the one whose last label begins earliest,
    then the label before it, and so on. Emissions are taken as float32 and summed as float64. `name` is what messages
    call the recording. The interpreter's lock is released while it computes.

    Raises:
        UserError: too few frames for the labels (a repeat needs one more), NaN, or a text of probability zero.
        ValueError: emissions that are no (T, V) log-probabilities, labels that are no symbols of it.
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
        raise UserError(f"{name}: the model gives this text probability zero; check that text and recording belong")
    states = np.empty(frames, dtype=np.int64)
    pointers = np.empty((block, min(2 * block, 2 * count) + 1), dtype=np.uint8)
    for index in range(len(kept) - 1, -1, -1):
        start = index * block
        stop = min(start + block, frames)
        end = _way_back(wide[start:stop], targets, blank, barred, kept[index], end, pointers, states[start:stop])
    return _runs(wide, targets, states, best)


def block_frames(frames: int, labels: int) -> int:
    """K, the frames between two kept rows of scores: what makes kept scores and back pointers together smallest."""
    return max(1, min(frames, math.ceil(math.cbrt(2 * frames * (2 * labels + 1)))))


def _check(emissions: NDArray[Any], labels: NDArray[np.int64], blank: int, name: str) -> None:
    if emissions.ndim != 2 or not np.issubdtype(emissions.dtype, np.floating):
        raise ValueError(f"emissions must be (T, V) floats, not {emissions.dtype} of shape {emissions.shape}")
    if labels.ndim != 1 or not 0 <= blank < emissions.shape[1]:
        raise ValueError(f"labels must be one list, and blank {blank} one of {emissions.shape[1]} symbols")
    if len(labels) and (labels.min() < 0 or labels.max() >= emissions.shape[1] or (labels == blank).any()):
        raise ValueError(f"labels must be among {emissions.shape[1]} symbols and none of them the blank")
    highest = emissions.max(initial=-np.inf)  # NaN if one is
    if np.isnan(highest):
        raise UserError(f"{name}: the model's log-probabilities hold NaN; check the model and the recording")
    if highest > _ABOVE_ZERO:
        raise ValueError("emissions must be log-probabilities, at most 0: take log_softmax of the logits")


def _check_fit(frames: int, labels: int, repeats: int, name: str) -> None:
    if frames >= labels + repeats:
        return
    need = f"{labels} labels and {repeats} repeats (equal neighbours need a blank between them)"
    raise UserError(
        f"{name}: the text cannot fit: {need} need {labels + repeats} frames and there are {frames}; "
        "check that the text belongs to this recording, and is not longer"
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
    """One frame for a stretch of labels and the blanks before them; two loops, which the compiler can vectorise."""
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

    Blanks and labels are held apart, so that the inner loop is free of branches. Only states are visited that the
    frames so far can reach and that leave enough frames for the rest.
    """
    frames, count = len(emissions), len(labels)
    blanks, new_blanks = np.full(count + 1, -np.inf), np.full(count + 1, -np.inf)
    # One place more in front, which nothing reaches, stands for the label before the first.
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
def _way_back(
    emissions: NDArray[Any],
    labels: _Indices,
    blank: int,
    barred: _Scores,
    scores: NDArray[Any],
    end: int,
    pointers: NDArray[Any],
    states: NDArray[Any],
) -> Any:
    """Write the best path's states through a block that ends in state `end`; return the state before the block.

    scores: (S,), before the block. pointers: room for (frames, states in reach) steps of 0, 1 or 2.
    """
    frames = len(emissions)
    lowest = max(0, end - 2 * frames)
    window = scores[lowest : end + 1].copy()
    for frame in range(frames):
        quiet = np.float64(emissions[frame, blank])
        for place in range(len(window) - 1, -1, -1):  # downwards, so that the places before are still the last frame's
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
        state -= pointers[frame, state - lowest]
    return state
