"""Language models as flashlight's search asks for them: KenLM from a file, or any of ours through Python."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel

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
