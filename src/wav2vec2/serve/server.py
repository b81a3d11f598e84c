"""What the routes of one server share: its options, engine, limits and metrics."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from wav2vec2.serve.computing import ComputePool
from wav2vec2.serve.engine import Engine
from wav2vec2.serve.failures import ApiError
from wav2vec2.serve.limits import Keys, Places, Rate
from wav2vec2.serve.metrics import Metrics
from wav2vec2.serve.uploads import Budget, UploadLimits


class Endable(Protocol):
    """A live session that can be told to end."""

    def end(self) -> None:
        """Have what is left sent, and the connection closed."""


@dataclass(frozen=True)
class ServerOptions:
    """What the routes need to know; see the options of the command.

    model_names: the first is the model's own. processes: settings of decoder processes and compute workers. workers:
    processes that hold the model, threads: of each; 0: see `layout`.
    """

    model_names: tuple[str, ...]
    language: str
    processes: dict[str, Any]
    workers: int
    threads: int
    most_seconds: float
    most_bytes: int
    memory_bytes: int
    upload_budget: int
    bytes_a_second: int
    running: int
    waiting: int
    live_sessions: int
    requests_a_minute: int
    keys: tuple[bytes, ...] = ()
    spool: Path | None = None
    cors: tuple[str, ...] = ()


class Server:
    """One server; `start` and `stop` its processes."""

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self.metrics = Metrics()
        self.pool = ComputePool(options.processes, options.workers, options.threads, self.metrics)
        self.engine = Engine(self.pool)
        self.keys, self.rate = Keys(list(options.keys)), Rate(options.requests_a_minute)
        self.places = Places(options.running, options.waiting, self.metrics)
        self.budget = Budget(options.upload_budget)
        self.uploads = UploadLimits(options.most_bytes, options.bytes_a_second, options.spool)
        self.sessions: set[Endable] = set()
        self.began = int(time.time())

    async def start(self) -> None:
        """Start the processes, if they do not run yet."""
        await self.engine.start()

    async def stop(self) -> None:
        """End the processes."""
        await self.engine.stop()

    def checked_model(self, name: str) -> str:
        """Return the name of a model. Raises ApiError (404) for one that is not served."""
        if name not in self.options.model_names:
            known = ", ".join(self.options.model_names)
            raise ApiError(
                404, f"no model {name[:80]!r} is served here; name {known}", "model_not_found", param="model"
            )
        return name

    def model_card(self, name: str) -> dict[str, Any]:
        """Return a model as OpenAI's clients list it."""
        return {"id": name, "object": "model", "created": self.began, "owned_by": "wav2vec2"}
