"""Long recordings for a beam search: cut where nobody speaks, searched apart, their n-best lists joined.

A search keeps all of an utterance's frames in memory, and one that goes on for hours would exhaust it. The language
model starts anew at a cut.
"""

import heapq
import itertools
from collections.abc import Sequence

import numpy as np

from wav2vec2.decode.hypothesis import Decoder, Emissions, Hypothesis
from wav2vec2.text.vocabulary import Vocabulary

LONGEST_FRAMES = 3000
"""One minute at the paper's stride of 20 ms."""
_AROUND = 10  # frames on either side that should be silent too


def decode_in_pieces(
    decoder: Decoder, vocabulary: Vocabulary, emissions: Sequence[Emissions], *, longest: int = LONGEST_FRAMES
) -> list[list[Hypothesis]]:
    """Decode utterances (T, V) of any length; those of up to `longest` frames as the decoder does."""
    separator = None if vocabulary.word_separator is None else vocabulary.symbols.index(vocabulary.word_separator)
    edges = [cut(array, vocabulary.blank, separator, longest=longest) for array in emissions]
    pieces = [
        array[first:last]
        for array, bounds in zip(emissions, edges, strict=True)
        for first, last in itertools.pairwise(bounds)
    ]
    decoded = iter(decoder.decode(pieces))
    results = []
    for bounds in edges:
        lists = [next(decoded) for _ in bounds[1:]]
        results.append(lists[0] if len(lists) == 1 else join(lists, bounds, separator))
    return results


def cut(emissions: Emissions, blank: int, separator: int | None, *, longest: int) -> list[int]:
    """Edges of the pieces, 0 and T included: each piece but the last ends in its second half, in the middle of where
    blanks and separators are likeliest.
    """
    frames = len(emissions)
    edges = [0]
    if frames > longest:
        quiet = np.logaddexp(emissions[:, blank], emissions[:, blank if separator is None else separator])
        sums = np.cumsum(np.pad(np.maximum(quiet, -20.0).astype(np.float64), (_AROUND + 1, _AROUND), mode="edge"))
        around = sums[2 * _AROUND + 1 :] - sums[: -2 * _AROUND - 1]
        while frames - edges[-1] > longest:
            begin = edges[-1] + max(1, longest // 2)
            edges.append(begin + int(np.argmax(around[begin : edges[-1] + longest])))
    return [*edges, frames]


def join(lists: Sequence[Sequence[Hypothesis]], edges: Sequence[int], separator: int | None) -> list[Hypothesis]:
    """The best combinations of one reading from each piece, as many as a piece's longest list has."""
    wanted = max(map(len, lists))
    joined: list[Hypothesis] = [Hypothesis([], [], 0.0)]
    for readings, offset in zip(lists, edges, strict=False):
        pairs = [(left, right) for left in joined for right in readings]
        best = heapq.nlargest(wanted, range(len(pairs)), key=lambda i: (pairs[i][0].score + pairs[i][1].score, -i))
        joined = [_append(*pairs[i], offset, separator) for i in best]
    return joined


def _append(left: Hypothesis, right: Hypothesis, offset: int, separator: int | None) -> Hypothesis:
    frames, last_frames = [offset + frame for frame in right.frames], [offset + frame for frame in right.last_frames]
    between: list[int] = []
    if separator is not None and left.ids and right.ids and separator not in (left.ids[-1], right.ids[0]):
        between = [separator]
    return Hypothesis(
        [*left.ids, *between, *right.ids],
        [*left.frames, *([offset] * len(between)), *frames],
        left.score + right.score,
        [*left.last_frames, *([offset] * len(between)), *last_frames],
        left.acoustic_score + right.acoustic_score,
        left.lm_score + right.lm_score,
        (*left.word_confidences, *right.word_confidences),
        (*left.words, *right.words),
    )
