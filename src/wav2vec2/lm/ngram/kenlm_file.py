"""A KenLM binary as a ``LanguageModel``, through the KenLM inside flashlight-text.

KenLM's states are opaque objects; here they are given integer handles. Scores are cached until ``retain`` drops them,
so that equal histories have equal handles. In our own search ``NgramModel`` with the ARPA file is faster.
"""

import contextlib
import functools
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wav2vec2.errors import UserError, shortened
from wav2vec2.lm.language_model import Unit
from wav2vec2.lm.words import BEGIN, END, UNKNOWN, is_kenlm_binary, ngram_words

KENLM_NATS = math.log(10)
"""Nats per unit of KenLM's scores, which are decimal logarithms; flashlight passes them on unchanged."""

_TRIAL_SECONDS = 10.0
_TRIAL_BYTES_A_SECOND = 20e6
_TRIED_WORDS = 20_000


class KenlmFile:
    """A ``LanguageModel`` in a KenLM binary (or ARPA file).

    Raises:
        UserError: the file is damaged or was built without its words, or flashlight-text is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        try_kenlm(self.path)
        self.tokens: Sequence[str] = (UNKNOWN, BEGIN, END, *ngram_words(path))
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
        """Return the index of a word, ``unknown`` if the model lacks it."""
        return self._ids.get(token, self.unknown)

    def start(self) -> int:
        """Return the history at the beginning of a sentence."""
        return 0

    def score(
        self, histories: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the log-probability of ``tokens[i]`` after ``histories[i]``, and the next histories; all (N,).

        Raises:
            ValueError: a history is unknown or has been forgotten, or there is no such token.
        """
        scores, following = np.empty(len(tokens), np.float32), np.empty(len(tokens), np.int64)
        for i, pair in enumerate(zip(np.asarray(histories).tolist(), np.asarray(tokens).tolist(), strict=True)):
            scores[i], following[i] = self._scored[pair] if pair in self._scored else self._ask(*pair)
        return scores, following

    def _ask(self, history: int, token: int) -> tuple[float, int]:
        if history not in self._states or not 0 <= token < len(self.tokens):
            raise ValueError("a history or token that is not of this model")
        if token == self._ids[END]:
            # flashlight's `score` takes words only; the history after the end is never used
            found = self._model.finish(self._states[history])[1] * KENLM_NATS, history
        else:
            state, score = self._model.score(self._states[history], token)
            self._states[self._next] = state
            found = score * KENLM_NATS, self._next
            self._next += 1
        self._scored[history, token] = found
        return found

    def finish(self, histories: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the log-probability that the sentence ends after each history, (N,)."""
        return self.score(histories, np.full(len(histories), self._ids[END], np.int64))[0]

    def retain(self, histories: NDArray[np.int64]) -> None:
        """Forget all states but these and the start."""
        start, kept = self._states[0], {int(h): self._states[int(h)] for h in histories if int(h) in self._states}
        numbered = self._next
        self._forget(start, kept)
        self._next = max(self._next, numbered)  # a forgotten handle is never given to another history

    def __reduce__(self) -> tuple[type["KenlmFile"], tuple[str]]:
        """Pickle as the path: a worker process opens the file again."""
        return KenlmFile, (self.path,)


def open_kenlm(path: str, words: Sequence[str]) -> Any:
    """Open an ARPA file or KenLM binary through flashlight-text, with word i of ``words`` as index i.

    Raises:
        UserError: the file cannot be read, or flashlight-text is not installed.
    """
    try:
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary
    except ImportError:
        why = "needs flashlight-text, which is not installed (there is none for Python 3.13 and later)"
        raise UserError(f"{path}: a KenLM binary {why}; give the ARPA file") from None
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; give an ARPA file or a KenLM binary")
    try:
        with _quiet_stderr():
            return KenLM(path, Dictionary(list(words)))
    except (RuntimeError, ValueError) as error:  # the latter for a word that is there twice, or text that is not UTF-8
        # KenLM puts its source line and the failed condition before the useful part of its message.
        reason = shortened(re.sub(r"^.* because `.*?'\.\s*", "", " ".join(str(error).split())))
        raise UserError(f"{path}: cannot be read as an n-gram model ({reason}); write or copy it again") from error


@functools.lru_cache(maxsize=32)
def try_kenlm(path: str) -> None:
    """Open a KenLM binary and score its words in a process of its own, once.

    KenLM believes what a binary says, and dies, or never ends, if it is damaged. An ARPA file is read with care.
    Raises UserError if the process dies or takes too long.
    """
    if not is_kenlm_binary(path):
        return
    limit = _TRIAL_SECONDS + os.path.getsize(path) / _TRIAL_BYTES_A_SECOND
    command = [sys.executable, "-m", "wav2vec2.lm.ngram.kenlm_file", path]
    try:
        status = subprocess.run(command, capture_output=True, timeout=limit, check=False).returncode
    except subprocess.TimeoutExpired:
        status = -1
    if status < 0:
        raise UserError(f"{path}: is damaged: it ends the process that opens it; copy it again, or give the ARPA file")


def _try_words(path: str) -> None:
    """Score words after the beginning, and each after the ones before it."""
    words = ngram_words(path)
    tried = words[:: max(1, len(words) // _TRIED_WORDS)]
    model = open_kenlm(path, tried)
    start = state = model.start(False)
    for index in range(len(tried)):
        model.score(start, index)
        state, _ = model.score(state, index)
        model.finish(state)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Discard the progress bar that KenLM writes to file descriptor 2."""
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


if __name__ == "__main__":
    with contextlib.suppress(UserError):  # whoever started the trial will meet it again
        _try_words(sys.argv[1])
