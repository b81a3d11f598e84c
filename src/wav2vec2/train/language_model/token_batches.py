"""Sentences of token numbers in one array, and batches of them for training and validation.

A corpus of N tokens and L lines takes 4 N + 8 L bytes. Batches are planned like batches of speech: they are a pure
function of (lengths, seed, epoch) and are dealt to ranks. The length of a sentence is the number of tokens that the
model predicts in it. Longer sentences than the limit are cropped at a place that is a hash of (seed, epoch, sentence).
"""

import hashlib
import heapq
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wav2vec2.data.batch_plan import BatchPlan
from wav2vec2.data.dataset import Update
from wav2vec2.data.sampler import Position, deal
from wav2vec2.errors import UserError


@dataclass(frozen=True)
class Sentences:
    """Encoded sentences. Sentence i is ``tokens[bounds[i] : bounds[i + 1]]``, with a sentence mark at each end."""

    tokens: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, number: int) -> npt.NDArray[np.int32]:
        """Return the tokens of one sentence."""
        return self.tokens[self.bounds[number] : self.bounds[number + 1]]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Number of tokens that the model predicts in each sentence: all but the first mark."""
        return np.diff(self.bounds) - 1

    @property
    def fingerprint(self) -> str:
        """Short hash of all sentences."""
        digest = hashlib.sha256(np.ascontiguousarray(self.tokens).tobytes())
        digest.update(np.ascontiguousarray(self.bounds).tobytes())
        return digest.hexdigest()[:16]


def held_out_lines(lines: Iterable[Sequence[str]], count: int) -> set[int]:
    """Numbers of ``count`` sentences to hold out, chosen by a hash of their words: the same for all models.

    Raises:
        UserError: there are no more sentences than that.
    """
    total = 0

    def keyed() -> Iterator[tuple[bytes, int]]:
        nonlocal total
        for number, words in enumerate(lines):
            total = number + 1
            yield hashlib.sha256(" ".join(words).encode()).digest(), number

    chosen = heapq.nsmallest(count, keyed())
    if total <= count:
        raise UserError(f"data.hold_out: {count} of {total} sentences; hold out fewer")
    return {number for _, number in chosen}


def encode_sentences(sentences: Iterable[Sequence[int]], mark: int) -> Sentences:
    """Put sentences of token numbers into one array, with ``mark`` at both ends of each."""
    tokens, bounds = array("i"), array("q", [0])
    for numbers in sentences:
        tokens.append(mark)
        tokens.extend(numbers)
        tokens.append(mark)
        bounds.append(len(tokens))
    return Sentences(np.frombuffer(tokens, np.int32) if tokens else np.zeros(0, np.int32), np.asarray(bounds, np.int64))


@dataclass(frozen=True)
class TokenBatch:
    """One rank's share of a forward pass; may be empty. Legend: B sentences, T predicted tokens of the longest."""

    tokens: Tensor
    """(B, T + 1) int64, zero beyond the end of a row. All but the last are read, all but the first are predicted."""
    lengths: Tensor
    """(B,) int64, predicted tokens."""
    rows: Tensor
    """(B,) int64, index of each row in the global batch."""
    bad: tuple[str, ...] = ()
    static: bool = False
    """Sentences have many lengths."""
    absent: bool = False
    """Whether the rows are a stand-in, whose results do not count."""

    @property
    def amount(self) -> Tensor:
        """Number of predicted tokens."""
        return self.lengths.sum()

    @property
    def padded_amount(self) -> float:
        """The same with padding."""
        return float(self.lengths.numel() * (self.tokens.shape[1] - 1))

    def stand_in(self) -> "TokenBatch":
        """Return one made-up sentence, for a process without rows to take part in a pass of all."""
        rows = self.rows.new_zeros(1)
        return TokenBatch(self.tokens.new_zeros(1, 2), rows + 1, rows, absent=True)

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> "TokenBatch":
        """Return the batch on a device."""
        tokens, lengths, rows = (t.to(device, non_blocking=True) for t in (self.tokens, self.lengths, self.rows))
        return replace(self, tokens=tokens, lengths=lengths, rows=rows)


def pad_sentences(pieces: list[np.ndarray], rows: list[int]) -> TokenBatch:
    """Make a batch of token sequences (first mark included)."""
    tokens = torch.zeros(len(pieces), max((len(piece) for piece in pieces), default=1), dtype=torch.int64)
    for row, piece in enumerate(pieces):
        tokens[row, : len(piece)] = torch.from_numpy(piece.astype(np.int64))
    lengths = torch.tensor([len(piece) - 1 for piece in pieces], dtype=torch.int64)
    return TokenBatch(tokens, lengths, torch.tensor(rows, dtype=torch.int64))


class TokenLoader:
    """Yields updates in the order of a plan. Batches are made in this process: there is nothing to decode.

    Args:
        sentences: the corpus.
        batch_tokens: predicted tokens of one update, over all ranks.
        micro_tokens: most padded tokens of one rank's forward pass.
        max_tokens: longer sentences are cropped.
        seed: of order and crops.
        rank: of this process.
        world: number of ranks.

    Raises:
        UserError: the corpus is empty, or an update is smaller than the longest sentence.
    """

    unit = "tokens"

    def __init__(
        self,
        sentences: Sentences,
        *,
        batch_tokens: int,
        micro_tokens: int,
        max_tokens: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not len(sentences):
            raise UserError("data.text: has no sentence; give plain text, one sentence per line")
        if max_tokens < 1 or batch_tokens < min(max_tokens, int(sentences.predicted.max())):
            raise UserError(
                f"batch.tokens ({batch_tokens}) is less than the longest sentence after cropping; "
                "raise it or lower batch.max_tokens"
            )
        self._sentences, self._rank, self._world = sentences, rank, world
        self.plan = BatchPlan(
            sentences.predicted,
            batch_samples=batch_tokens,
            group_samples=micro_tokens * world,
            max_samples=max_tokens,
            min_samples=1,
            seed=seed,
        )

    def updates(self, position: Position) -> Iterator[Update[TokenBatch]]:
        """Yield updates from a position on, without end."""
        for batch in self.plan.walk(position):
            shares = deal(batch.groups, self._rank, self._world)
            micro = []
            for share in shares:
                pieces = []
                for row in share:
                    start, count = int(batch.starts[row]), int(batch.samples[row])
                    pieces.append(self._sentences[int(batch.utterances[row])][start : start + count + 1])
                micro.append(pad_sentences(pieces, share.tolist()))
            yield Update(micro, batch.following)


def fixed_token_batches(sentences: Sentences, micro_tokens: int, *, rank: int, world: int) -> Iterator[TokenBatch]:
    """Yield every sentence once and whole, from long to short, for validation.

    Ranks take every world-th sentence. All get the same number of batches, the last of which may be empty.
    """
    lengths = sentences.predicted
    order = np.argsort(-lengths, kind="stable")
    first = 0
    while first < len(order):
        count = world * max(1, micro_tokens // int(lengths[order[first]]))
        members = order[first : first + count][rank::world].tolist()
        yield pad_sentences([sentences[number] for number in members], members)
        first += count
