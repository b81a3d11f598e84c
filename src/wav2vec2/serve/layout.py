"""How many processes hold the model, and how many threads each of them has, where the user does not say it.

Threads that share the products of a small model wait for each other: with 2.2 million parameters on two cores, two
processes of one thread do 1.4 times what one process of two threads does, and live words come twice as early
(docs/results/serving.md). Every process has weights of its own, so a large model is shared by the threads of four
cores, which also answer a request that is alone sooner.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wav2vec2.device import available_cores, compute_threads

SMALL = 25_000_000
"""Parameters of the largest small model. They take 100 MB, less than what a worker has without a model: 170 MiB."""
MOST_SMALL = 8
"""Processes of a small model that are started for their speed alone. They keep the front busy, which takes 5 ms for a
request, and have two to three GB together."""
_CORES_OF_A_LARGE_ONE = 4


@dataclass(frozen=True)
class Layout:
    """processes: that hold the model. threads: of each."""

    processes: int
    threads: int


def layout(parameters: int, kind: str, *, processes: int = 0, threads: int = 0) -> Layout:
    """Return how a model of so many parameters is served on a kind of device, cpu or cuda.

    processes, threads: what the user has chosen; 0: by the model and the cores that this process may use.
    """
    cores = compute_threads()
    if not processes:
        by_memory = available_cores() // _CORES_OF_A_LARGE_ONE
        by_speed = min(cores // max(1, threads), MOST_SMALL) if parameters <= SMALL else 1
        # A GPU computes one batch after the other, whoever asks for it.
        processes = max(1, by_memory, by_speed) if kind == "cpu" else 1
    return Layout(processes, threads or max(1, cores // processes))


def layout_of(settings: dict[str, Any]) -> Layout:
    """Return how the model of a server's settings is served here; a model of the hub is downloaded first.

    Raises UserError for a model that cannot be found or described, and for a device that is not here.
    """
    from wav2vec2.checkpoints.load import describe  # it imports torch
    from wav2vec2.device import usable_device
    from wav2vec2.inference.acoustic_model import is_exported

    source, kind = settings["model"], usable_device(settings["device"]).type
    if is_exported(source):
        path = Path(source)
        parameters = path.stat().st_size // 4 if path.is_file() else 0  # who loads it says that it is missing
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # loading says it, too
            parameters = describe(source, language=settings["language"]).parameters()
    return layout(parameters, kind, processes=settings["processes"], threads=settings["threads"])
