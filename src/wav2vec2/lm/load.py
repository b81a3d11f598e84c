"""Opening a language model of any kind from its path, and interpolating two models."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel, Unit
from wav2vec2.lm.words import SENTENCE_MARKS, is_kenlm_binary

if TYPE_CHECKING:
    import torch


def load_language_model(path: str | Path, device: "torch.device | None" = None) -> LanguageModel:
    """Open an ARPA file (plain or gzipped), a KenLM binary, or the directory of a Transformer language model.

    device: where a Transformer computes; the CPU if not given.

    Raises:
        UserError: there is no such file, it is none of the three, or it is damaged.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"{path}: has no config.json; give the directory that wav2vec2 lm transformer wrote")
        from wav2vec2.lm.transformer.model import TransformerLM

        model = TransformerLM.load(path)
        return model if device is None else model.to(device)
    if is_kenlm_binary(path):
        from wav2vec2.lm.ngram.kenlm_file import KenlmFile

        return KenlmFile(path)
    from wav2vec2.lm.ngram.model import NgramModel

    return NgramModel.load(path)


Integers = NDArray[np.int64]


class InterpolatedLM:
    """Two language models as one: P(word | history) = (1 - share) P_first + share P_second.

    Interpolation is linear in probability, not log-linear: the result needs no normalising sum over the vocabulary, and
    a word is possible if either model allows it. The tokens are the first model's. The second model's probability of
    the unknown word is divided among the tokens that it does not know, so that the sum is at most one.

    Args:
        first: the model whose tokens are used.
        second: another model of the same unit, words or characters.
        share: weight of the second model, 0 to 1.

    Raises:
        UserError: the share is not between 0 and 1, or the models have too few tokens in common.
    """

    def __init__(self, first: LanguageModel, second: LanguageModel, share: float) -> None:
        if not 0.0 <= share <= 1.0:
            raise UserError(f"interpolation: the share {share} must be between 0 and 1")
        self.tokens: Sequence[str] = first.tokens
        self.unknown = first.unknown
        self._translate = np.array([second.index(token) for token in first.tokens], np.int64)
        missing = self._translate == second.unknown
        ordinary = np.array([token not in SENTENCE_MARKS for token in first.tokens])
        ordinary[first.unknown] = False
        if missing[ordinary].mean() > 0.9:
            shared = int((~missing & ordinary).sum())
            raise UserError(
                f"interpolation: the second model knows only {shared} of the first one's {int(ordinary.sum())} tokens; "
                "give two models over words, or two over characters, in the same case"
            )
        self.unit: Unit = first.unit
        self._first, self._second = first, second
        self._penalty = np.where(missing, -math.log(max(1, int(missing.sum()))), 0.0).astype(np.float32)
        with np.errstate(divide="ignore"):
            self._weights = np.log(np.array([1.0 - share, share], np.float64))
        self._pairs = np.zeros((1024, 2), np.int64)
        self._handles: dict[tuple[int, int], int] = {}
        self._free = list(range(1023, -1, -1))
        self._start = int(self._handle(first.start(), second.start()))

    def index(self, token: str) -> int:
        """Return the index of a token, as in the first model."""
        return self._first.index(token)

    def start(self) -> int:
        """Return the history at the beginning of a sentence."""
        return self._start

    def score(self, histories: Integers, tokens: Integers) -> tuple[NDArray[np.float32], Integers]:
        """Return the log-probability of ``tokens[i]`` after ``histories[i]``, and the next histories; all (N,)."""
        pairs, tokens = self._pairs[np.asarray(histories, np.int64)], np.asarray(tokens, np.int64)
        one, after_one = self._first.score(pairs[:, 0], tokens)
        two, after_two = self._second.score(pairs[:, 1], self._translate[tokens])
        following = [self._handle(a, b) for a, b in zip(after_one.tolist(), after_two.tolist(), strict=True)]
        return self._mix(one, two + self._penalty[tokens]), np.array(following, np.int64)

    def finish(self, histories: Integers) -> NDArray[np.float32]:
        """Return the log-probability that the sentence ends after each history, (N,)."""
        pairs = self._pairs[np.asarray(histories, np.int64)]
        return self._mix(self._first.finish(pairs[:, 0]), self._second.finish(pairs[:, 1]))

    def retain(self, histories: Integers) -> None:
        """Forget all histories but these and the start, here and in both models."""
        kept = {*np.asarray(histories, np.int64).tolist(), self._start}
        for pair in [pair for pair, handle in self._handles.items() if handle not in kept]:
            self._free.append(self._handles.pop(pair))
        pairs = self._pairs[sorted(kept)]
        self._first.retain(pairs[:, 0])
        self._second.retain(pairs[:, 1])

    def _mix(self, one: NDArray[np.float32], two: NDArray[np.float32]) -> NDArray[np.float32]:
        mixed: NDArray[np.float32] = np.logaddexp(one + self._weights[0], two + self._weights[1]).astype(np.float32)
        return mixed

    def _handle(self, one: int, two: int) -> int:
        handle = self._handles.get((one, two))
        if handle is None:
            if not self._free:
                old = len(self._pairs)
                self._pairs = np.concatenate([self._pairs, np.zeros_like(self._pairs)])
                self._free = list(range(2 * old - 1, old - 1, -1))
            handle = self._handles[one, two] = self._free.pop()
            self._pairs[handle] = one, two
        return handle
