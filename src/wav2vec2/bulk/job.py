"""What is computed for every row of a manifest."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, Protocol

import pyarrow as pa

from wav2vec2.audio.recordings import Failure
from wav2vec2.data.utterance import Utterance

Row = Mapping[str, Any]
"""The values of one row of results by column, without `id` and `error`."""


class Worker(Protocol):
    """A job with its model loaded, in one process.

    columns: the columns of its results. facts: what a reader of them needs to know, such as the symbols of a
    vocabulary.
    """

    @property
    def columns(self) -> list[pa.Field]: ...  # noqa: D102

    @property
    def facts(self) -> Mapping[str, Any]: ...  # noqa: D102

    def rows(self, utterances: Iterable[Utterance]) -> Iterator[Row | Failure]:
        """Yield the results of utterances, in order; a Failure for one that cannot be read."""

    def close(self) -> None:
        """Release what it holds."""


class Job(Protocol):
    """Something to compute, which can be sent to another process.

    command: the name of the command, for messages. uses_gpu: whether a GPU is of use to it.
    """

    @property
    def command(self) -> str: ...  # noqa: D102

    @property
    def uses_gpu(self) -> bool: ...  # noqa: D102

    def identity(self) -> Mapping[str, Any]:
        """All that the results depend on beside the rows, as plain values. Raises UserError if it cannot be found."""

    def open(self) -> Worker:
        """Load the model. Raises UserError if it cannot be used."""


def plain_options(options: Any, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a dataclass of options as plain values, for `Job.identity`."""
    return {name: _plain(value) for name, value in asdict(options).items() if name not in without}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    finite = isinstance(value, bool | int | str | None) or (isinstance(value, float) and math.isfinite(value))
    return value if finite else str(value)
