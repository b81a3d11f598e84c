"""Beam searches: their options, the interface of all decoders, long recordings, and searches with rescoring."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from wav2vec2.decode.context import Context, contexts_of
from wav2vec2.decode.hypothesis import Emissions, Hypothesis
from wav2vec2.decode.rescore import Rescorer
from wav2vec2.errors import UserError
from wav2vec2.text.vocabulary import Vocabulary

LONGEST_FRAMES = 3000
"""Frames of the longest piece that is searched at once: one minute at the paper's stride of 20 ms."""
_LARGEST_BEAM = 100_000  # the paper's largest is 1500
_AROUND = 10  # frames on either side of a cut that should be silent as well


@dataclass(frozen=True)
class SearchOptions:
    """Numbers of a beam search (section 4.4, Tables 7 and 8 of the paper), the same for every decoder.

    Hypotheses are ranked by acoustic score + lm_weight * language model + word_score * words + silence_score *
    separators, in natural logarithms. Raises UserError for sizes below one and for numbers that are not finite.
    """

    beam: int = 50
    """Hypotheses kept after each frame; the paper tests with 1500 (n-gram) and 500 (Transformer)."""
    beam_tokens: int = 0
    """Number of symbols, the most probable ones of a frame, that may extend a hypothesis; 0 means all."""
    threshold: float = 50.0
    """Hypotheses more than this many nats below the best one are dropped."""
    lm_weight: float = 0.87
    """Weight of the language model's natural logarithms. fairseq's 2, for KenLM's decimal logarithms, is 0.87 here."""
    word_score: float = -1.0
    """Added for every word."""
    unknown_score: float = -math.inf
    """Added for a word that the language model does not know."""
    silence_score: float = 0.0
    """Added for every word separator."""
    merge: Literal["max", "logadd"] = "max"
    """How the paths of one hypothesis are combined: max keeps the best, logadd adds their probabilities."""
    nbest: int = 1
    """Number of hypotheses returned."""

    def __post_init__(self) -> None:
        if self.beam < 1 or self.nbest < 1 or self.beam_tokens < 0 or not self.threshold > 0:
            raise UserError("search: beam and nbest must be at least 1, beam_tokens at least 0, threshold positive")
        if max(self.beam, self.nbest, self.beam_tokens) > _LARGEST_BEAM:
            raise UserError(f"search: beam, nbest and beam_tokens must be at most {_LARGEST_BEAM}")
        for name in ("lm_weight", "word_score", "silence_score"):
            if not math.isfinite(getattr(self, name)):
                raise UserError(f"search: {name} must be a finite number")
        if math.isnan(self.unknown_score) or self.unknown_score == math.inf:
            raise UserError("search: unknown_score must be a number or -inf")


class Decoder(Protocol):
    """A search over the symbols of one vocabulary, with its language model loaded."""

    def decode(
        self, emissions: Sequence[Emissions], options: SearchOptions, contexts: Sequence[Context] | None = None
    ) -> list[list[Hypothesis]]:
        """Decode utterances, each to its n-best list: best first, never empty (no frames: one empty hypothesis).

        contexts: what came before each of them, if they are pieces of recordings; scores are those of the piece alone.

        Raises:
            UserError: log-probabilities that are NaN or do not have the vocabulary's width, or a closed decoder.
        """

    def close(self) -> None:
        """Release workers and models; a closed decoder cannot decode."""


@dataclass(frozen=True)
class Search:
    """One way to get hypotheses from emissions, and one column of an evaluation's table.

    decoder: None means greedy decoding. rescorer: reranks the decoder's n-best list. nbest: how many hypotheses the
    user sees; the decoder may return more for the rescorer.
    """

    title: str
    decoder: Decoder | None = None
    options: SearchOptions = field(default_factory=SearchOptions)
    rescorer: Rescorer | None = None
    nbest: int = 1

    def close(self) -> None:
        """Close the decoder."""
        if self.decoder is not None:
            self.decoder.close()


GREEDY = Search("no LM")


def run_searches(
    searches: Sequence[Search], vocabulary: Vocabulary, emissions: Sequence[Emissions]
) -> list[list[list[Hypothesis]]]:
    """Return for every search its n-best list of every utterance. Searches that share a decoder decode once.

    Raises UserError for greedy decoding, which is not a search.
    """
    decoded: dict[tuple[int, SearchOptions], list[list[Hypothesis]]] = {}
    results = []
    for search in searches:
        if search.decoder is None:
            raise UserError("greedy decoding takes the best path of the frames, not a search")
        key = id(search.decoder), search.options
        if key not in decoded:
            decoded[key] = decode_in_pieces(search.decoder, vocabulary, emissions, search.options)
        lists = decoded[key] if search.rescorer is None else search.rescorer(decoded[key], vocabulary)
        results.append([nbest[: search.nbest] for nbest in lists])
    return results


def decode_in_pieces(
    decoder: Decoder,
    vocabulary: Vocabulary,
    emissions: Sequence[Emissions],
    options: SearchOptions,
    contexts: Sequence[Context] | None = None,
    *,
    longest: int = LONGEST_FRAMES,
) -> list[list[Hypothesis]]:
    """Decode utterances (T, V) of any length; those of up to `longest` frames in one piece.

    A search keeps all frames of a piece in memory. Therefore longer utterances are cut where nobody speaks, the pieces
    are decoded one after the other, and their n-best lists are joined. After a cut the language model goes on from the
    best hypothesis. contexts: as in `Decoder.decode`.
    """
    separator = None if vocabulary.word_separator is None else vocabulary.symbols.index(vocabulary.word_separator)
    edges = [cut(array, vocabulary.blank, separator, longest=longest) for array in emissions]
    states = list(contexts_of(len(emissions), contexts))
    lists: list[list[list[Hypothesis]]] = [[] for _ in emissions]
    for step in range(max((len(bounds) - 1 for bounds in edges), default=0)):
        rows = [row for row, bounds in enumerate(edges) if step < len(bounds) - 1]
        pieces = [emissions[row][edges[row][step] : edges[row][step + 1]] for row in rows]
        asked = [states[row].going_on(states[row].goes_on or step < len(edges[row]) - 2) for row in rows]
        for row, nbest in zip(rows, decoder.decode(pieces, options, asked), strict=True):
            lists[row].append(nbest)
            states[row] = states[row].then(nbest[0], vocabulary).going_on(states[row].goes_on)
    return [
        found[0] if len(found) == 1 else join(found, bounds, separator)
        for found, bounds in zip(lists, edges, strict=True)
    ]


def cut(emissions: Emissions, blank: int, separator: int | None, *, longest: int) -> list[int]:
    """Return the edges of the pieces, 0 and T included.

    Each piece but the last ends in the second half of the `longest` allowed, where blanks and separators are the most
    probable.
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
    """Return the best combinations of one hypothesis per piece, as many as the longest list has."""
    wanted = max(map(len, lists))
    joined: list[Hypothesis] = [Hypothesis([], [], 0.0)]
    for nbest, offset in zip(lists, edges, strict=False):
        pairs = [(left, right) for left in joined for right in nbest]
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
