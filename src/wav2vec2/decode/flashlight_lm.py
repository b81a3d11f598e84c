"""Language models as flashlight's search asks for them: KenLM from a file, or any of ours through Python."""

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
from wav2vec2.lm.language_model import LanguageModel

KENLM_NATS = math.log(10)
"""What one unit of KenLM's scores, which flashlight passes on unchanged, is in nats: they are decimal logarithms."""
_SCORES_AT_ONCE = 4096


def require_flashlight() -> None:
    """Raise UserError where flashlight-text is not installed (it has no wheel for Python 3.13)."""
    try:
        import flashlight.lib.text.decoder  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"the lexicon search needs flashlight-text ({error}); install it on Python 3.11 or 3.12, or choose "
            "--decoder beam"
        ) from error


def open_kenlm(path: str, words: Sequence[str]) -> Any:
    """Open an ARPA file or KenLM binary; the i-th word is known to the search as i. UserError if it cannot be read."""
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; give an ARPA file or a KenLM binary")
    try:
        with _quiet_stderr():
            return KenLM(path, Dictionary(list(words)))
    except RuntimeError as error:
        # KenLM puts the line of its source and the failed condition before what a person can use.
        reason = re.sub(r"^.* because `.*?'\.\s*", "", " ".join(str(error).split()))
        raise UserError(f"{path}: cannot be read as an n-gram model ({reason}); write or copy it again") from error


def python_lm(model: LanguageModel, words: Sequence[str]) -> Any:
    """Wrap a LanguageModel; the i-th word is known to the search as i. Its scores stay in nats.

    A history is a node of flashlight's tree of word sequences; what was scored is kept until the next utterance
    starts, when the model may forget everything.
    """
    from flashlight.lib.text.decoder import LM, LMState

    indices = np.array([model.index(word) for word in words], dtype=np.int64)

    class PythonLM(LM):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._known: dict[Any, tuple[int, float]] = {}

        def start(self, start_with_nothing: bool) -> Any:
            self._known.clear()
            model.retain(np.empty(0, dtype=np.int64))
            state = LMState()
            self._known[state] = (model.start(), 0.0)
            return state

        def score(self, state: Any, word: int) -> tuple[Any, float]:
            child = state.child(word)
            if child not in self._known:
                history = np.array([self._known[state][0]], dtype=np.int64)
                scores, following = model.score(history, indices[word : word + 1])
                self._known[child] = (int(following[0]), float(scores[0]))
            return child, self._known[child][1]

        def finish(self, state: Any) -> tuple[Any, float]:
            child = state.child(-1)
            if child not in self._known:
                history = self._known[state][0]
                self._known[child] = (history, float(model.finish(np.array([history], dtype=np.int64))[0]))
            return child, self._known[child][1]

    return PythonLM()


def unigram_scores(lm: Any, model: LanguageModel | None, words: Sequence[str]) -> NDArray[np.float64]:
    """Score every word after the sentence's beginning, (N,), in the language model's own unit."""
    if model is None:
        start = lm.start(False)
        return np.array([lm.score(start, index)[1] for index in range(len(words))], dtype=np.float64)
    indices = np.array([model.index(word) for word in words], dtype=np.int64)
    parts = [
        model.score(np.full(len(part), model.start(), dtype=np.int64), part)[0]
        for part in np.split(indices, range(_SCORES_AT_ONCE, len(indices), _SCORES_AT_ONCE))
    ]
    model.retain(np.empty(0, dtype=np.int64))
    return np.concatenate(parts).astype(np.float64)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep KenLM's progress bar, which it writes past Python, off the screen."""
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
