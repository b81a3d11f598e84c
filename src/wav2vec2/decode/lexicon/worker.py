"""A worker of `WorkerPool`: loads a search setup from stdin, then answers each request there with a line of pickle.

Every answer is a pair: (True, result), or (False, one line that says what is wrong).
"""

import os
import pickle
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from wav2vec2.errors import UserError


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Load the setup that comes first, then answer until the input ends."""

    def answer(work: Callable[[], Any]) -> Any:
        result: Any = None
        try:
            reply: tuple[bool, Any] = (True, result := work())
        except (UserError, MemoryError) as error:
            reply = (False, str(error) or "a decoding worker ran out of memory; use fewer --workers or a smaller beam")
        return reply, result

    def load() -> Any:
        from wav2vec2.decode.lexicon.search import LexiconSearch

        return LexiconSearch(pickle.load(requests))

    (good, said), search = answer(load)
    pickle.dump((good, None if good else said), answers)
    answers.flush()
    while good:
        try:
            emissions, options = pickle.load(requests)
        except EOFError:
            return
        reply, _ = answer(partial(search.decode, emissions, options))
        pickle.dump(reply, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints does not get into the answers
    serve(sys.stdin.buffer, channel)
