"""A KenLM binary as a ``LanguageModel``, through the KenLM inside flashlight-text.

KenLM gives out states that only it can read; here they get integer handles. What was asked once is kept, so that a
handle stands for one state, until ``retain`` lets go of it. ``NgramModel`` on the ARPA file is faster in our search.
"""

import contextlib
import math
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import Unit
from wav2vec2.lm.words import ngram_words

KENLM_NATS = math.log(10)
"""What one unit of KenLM's scores, which flashlight passes on unchanged, is in nats: they are decimal logarithms."""


class KenlmFile:
    """See ``LanguageModel``. Raises UserError if the file is damaged, was built without its words, or flashlight-text
    is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.tokens: Sequence[str] = ("<unk>", "<s>", "</s>", *ngram_words(path))
        self.unit: Unit = "words"
        self.unknown = 0
        self._ids = {token: index for index, token in enumerate(self.tokens)}
        self._model = open_kenlm(self.path, self.tokens)
        self._forget(self._model.start(False), {})

    def _forget(self, start: Any, kept: dict[int, Any]) -> None:
        self._states: dict[int, Any] = {0: start, **kept}
        self._scored: dict[tuple[int, int], tuple[float, int]] = {}
        self._next = max(self._states) + 1

    def index(self, token: str) -> int:
        """Index of a word, ``unknown`` if the model does not know it."""
        return self._ids.get(token, self.unknown)

    def start(self) -> int:
        """The history of a sentence's beginning."""
        return 0

    def score(
        self, histories: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Log-probability of ``tokens[i]`` after ``histories[i]``, and the history that follows; all (N,).

        Raises:
            ValueError: a history that was not given out or has been forgotten, or no such token.
        """
        scores, following = np.empty(len(tokens), np.float32), np.empty(len(tokens), np.int64)
        for i, pair in enumerate(zip(np.asarray(histories).tolist(), np.asarray(tokens).tolist(), strict=True)):
            scores[i], following[i] = self._scored[pair] if pair in self._scored else self._ask(*pair)
        return scores, following

    def _ask(self, history: int, token: int) -> tuple[float, int]:
        if history not in self._states or not 0 <= token < len(self.tokens):
            raise ValueError("a history or token that is not of this model")
        if token == self._ids["</s>"]:
            # flashlight's `score` knows words only; what follows the end is of no use to anyone
            found = self._model.finish(self._states[history])[1] * KENLM_NATS, history
        else:
            state, score = self._model.score(self._states[history], token)
            self._states[self._next] = state
            found = score * KENLM_NATS, self._next
            self._next += 1
        self._scored[history, token] = found
        return found

    def finish(self, histories: NDArray[np.int64]) -> NDArray[np.float32]:
        """Log-probability of the sentence's end after each history, (N,)."""
        return self.score(histories, np.full(len(histories), self._ids["</s>"], np.int64))[0]

    def retain(self, histories: NDArray[np.int64]) -> None:
        """Forget every other state but the start."""
        start, kept = self._states[0], {int(h): self._states[int(h)] for h in histories if int(h) in self._states}
        numbered = self._next
        self._forget(start, kept)
        self._next = max(self._next, numbered)  # a forgotten handle never comes back as another history

    def __reduce__(self) -> tuple[type["KenlmFile"], tuple[str]]:
        """A worker process opens the file again."""
        return KenlmFile, (self.path,)


def open_kenlm(path: str, words: Sequence[str]) -> Any:
    """Open an ARPA file or KenLM binary through flashlight-text; the i-th word is known to it as i.

    Raises UserError if it cannot be read, or flashlight-text is not installed.
    """
    try:
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary
    except ImportError as error:
        raise UserError(f"{path}: a KenLM binary needs flashlight-text ({error}); give the ARPA file") from error
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; give an ARPA file or a KenLM binary")
    try:
        with _quiet_stderr():
            return KenLM(path, Dictionary(list(words)))
    except RuntimeError as error:
        # KenLM puts the line of its source and the failed condition before what a person can use.
        reason = re.sub(r"^.* because `.*?'\.\s*", "", " ".join(str(error).split()))
        raise UserError(f"{path}: cannot be read as an n-gram model ({reason}); write or copy it again") from error


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep KenLM's progress bar, which it writes past Python to whoever owns the process's stderr, off the screen."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
