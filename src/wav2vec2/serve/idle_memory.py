"""Memory that was freed goes back to the system once a process has nothing to do.

glibc keeps what a burst has freed for the next one, in an arena for every few threads, and gives back by itself only
what lies at the end of one. So every process of a server has it give back all free pages when it has been without work
for some seconds. A decoder process and the one that forks them wait in one place, and do it there. The front and the
compute workers have many places: in them a thread looks at the processor time, so that no path of a request has to say
that it has ended.
"""

import gc
import threading
import time
from collections.abc import Callable

from wav2vec2.inference.freed_memory import give_back

IDLE_SECONDS = 5.0
"""So long a process has had no work when it gives memory back."""
_IDLE_SHARE = 0.02
"""Share of a core up to which a process is idle: questions after its health and metrics take less."""


def watch(seconds: float = IDLE_SECONDS, release: Callable[[], None] = give_back) -> None:
    """Call `release` after every burst of work of this process, in a thread that ends with it.

    What the process has by now stays for ever, and is not looked through for garbage again.
    """
    gc.freeze()
    threading.Thread(target=_watch, args=(seconds, release), daemon=True, name="idle memory").start()


def _watch(seconds: float, release: Callable[[], None]) -> None:
    little = seconds * _IDLE_SHARE
    released = seen = time.process_time()
    while True:
        time.sleep(seconds)
        before, seen = seen, time.process_time()
        if seen - before < little < seen - released:
            gc.collect()  # closed connections refer to themselves, and Python would look for them much later
            release()
            released = seen = time.process_time()
