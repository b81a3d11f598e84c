"""Work on a Ray cluster: processes that load a model once and do one item after the other.

Plain actors, not Ray Data: there, the items of an actor that is lost with its node wait until the cluster has room for
a new one, which may be when all else is done. Here another actor takes them at once.
"""

import os
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from wav2vec2.errors import UserError, cause

Item = TypeVar("Item")
Result = TypeVar("Result")
Opener = Callable[[], Callable[[Item], Result]]
"""Loads what is needed, and returns what does an item. It is sent to other machines, and so are items and results."""

Engine = Literal["local", "ray"]

_MOST_DEATHS = 5
_LOOK_SECONDS = 5.0
_STORE_BYTES = 128 << 20  # of Ray's store of objects: only names pass through it


@dataclass(frozen=True)
class RayOptions:
    """The Ray cluster, with --engine ray."""

    ray_address: str | None = None
    """Address of the cluster; without it RAY_ADDRESS, the cluster that this machine belongs to, or a new one on it."""
    ray_models: int = 0
    """Number of processes, each with a copy of the model, if there is one; 0: as many as the cluster has room for."""
    ray_cpus: float = 1.0
    """Processor cores of each of them."""
    ray_gpus: float | None = None
    """GPUs of each of them; 0.5: two of them share one. By default 1 if the cluster has any and they are of use."""

    def __post_init__(self) -> None:
        if self.ray_models < 0:
            raise UserError(f"--ray-models {self.ray_models}: must be 0 (as many as fit) or more")
        for name, value in (("--ray-cpus", self.ray_cpus), ("--ray-gpus", self.ray_gpus or 0.0)):
            if not 0 <= value < 1e4:
                raise UserError(f"{name} {value:g}: must be 0 or more")


@dataclass
class _Todo(Generic[Item]):
    """An item, and how many processes died of it, or beside it."""

    item: Item
    deaths: int = 0


class _Process:
    """What runs on the cluster. Problems of the user travel as text, because Ray would wrap the exception."""

    def __init__(self, opener: Opener[Any, Any], folder: str) -> None:
        self._opener, self._folder = opener, folder
        self._do: Callable[[Any], Any] | None = None

    def do(self, item: Any) -> tuple[Any, str]:
        """Return the result of an item, and an empty text or why there is none."""
        try:
            if self._do is None:
                if os.path.isdir(self._folder):  # where relative paths refer to
                    os.chdir(self._folder)
                self._do = self._opener()
            return self._do(item), ""
        except UserError as error:
            return None, str(error) or "failed"

    def ready(self) -> None:
        """Return when the process has been started."""


def run_on_cluster(
    opener: Opener[Item, Result], items: Iterable[Item], options: RayOptions, *, name: Callable[[Item], str]
) -> Generator[tuple[Item, Result], None, None]:
    """Yield each item with its result, as soon as it is known, in any order.

    An item whose process died (its node was lost, its memory ran out) is given to another. One that has met several
    deaths is left, and the others go on. name: what messages call an item.

    Raises:
        UserError: Ray is missing, there is no such cluster or no room in it, or an item cannot be done. What is being
            done elsewhere then is lost.
    """
    with _connected(options) as ray:
        pool = _Pool(ray, opener, options, name)
        try:
            yield from pool.run(iter(items))
        finally:
            pool.close()


@contextmanager
def _connected(options: RayOptions) -> Iterator[Any]:
    """Join a cluster for as long as the block lasts, or start one on this machine."""
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--engine ray: needs Ray ({cause(error)}): pip install 'wav2vec2[ray]'") from None
    if ray.is_initialized():  # by the caller, who ends it
        yield ray
        return
    quiet: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    address = options.ray_address or os.environ.get("RAY_ADDRESS") or "auto"
    try:
        if address not in ("auto", "local"):
            _knock(address)
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        if address not in ("auto", "local"):
            raise UserError(
                f"--ray-address {address}: no Ray cluster answers there ({cause(error)}): start it first (ray start)"
            ) from None
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address="local", include_dashboard=False, object_store_memory=_STORE_BYTES, **quiet)
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError or ValueError unless something listens at HOST:PORT: Ray itself tries for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdecimal():
        raise ValueError("write it as HOST:PORT")
    socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


class _Pool(Generic[Item, Result]):
    """The processes, and which item each of them has."""

    def __init__(
        self, ray: Any, opener: Opener[Item, Result], options: RayOptions, name: Callable[[Item], str]
    ) -> None:
        self._ray, self._options, self._name = ray, options, name
        gpus = options.ray_gpus
        if gpus is None:
            gpus = 1.0 if ray.cluster_resources().get("GPU", 0.0) >= 1.0 else 0.0
        self._needs = {"CPU": options.ray_cpus, "GPU": gpus}
        self._class = ray.remote(num_cpus=options.ray_cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0)(_Process)
        self._arguments = ray.put(opener), os.getcwd()
        self._starting: dict[Any, Any] = {}  # what will say that a process is there, and the process
        self._busy: dict[Any, tuple[Any, _Todo[Item]]] = {}
        self._idle: list[Any] = []
        self._again: deque[_Todo[Item]] = deque()
        self._failed_starts = 0
        self._said = time.monotonic()

    def run(self, items: Iterator[Item]) -> Iterator[tuple[Item, Result]]:
        """See `run_on_cluster`."""
        if not (self._room() or self._options.ray_models):
            raise UserError(f"--engine ray: {self._no_room()}")
        left: list[Item] = []
        fresh = map(_Todo, items)
        following = next(fresh, None)
        while following is not None or self._again or self._busy:
            if following is not None or self._again:
                self._start_more()
            while self._idle and (self._again or following is not None):
                if self._again:
                    todo = self._again.popleft()
                elif following is not None:
                    todo, following = following, next(fresh, None)
                process = self._idle.pop()
                self._busy[process.do.remote(todo.item)] = (process, todo)
            yield from self._finished(left)
        if left:
            raise UserError(
                f"{len(left)} tasks were left, such as {self._name(left[0])}: their process died {_MOST_DEATHS} times; "
                "leave it more memory with --ray-cpus, and run the same command again"
            )

    def close(self) -> None:
        """End all processes."""
        for process in [*self._starting.values(), *self._idle, *(one for one, _ in self._busy.values())]:
            self._ray.kill(process)

    def _finished(self, left: list[Item]) -> Iterator[tuple[Item, Result]]:
        """Wait until something happens, or for some seconds; yields what was done, if anything."""
        waiting = [*self._busy, *self._starting]
        happened = self._ray.wait(waiting, num_returns=1, timeout=_LOOK_SECONDS)[0] if waiting else []
        if not waiting:
            time.sleep(_LOOK_SECONDS)
        if not (self._busy or happened):
            self._say_that_nobody_works()
        for reference in happened:
            process, todo = self._busy.pop(reference) if reference in self._busy else (None, None)
            process = process or self._starting.pop(reference)
            try:
                answer = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError:
                raise  # a fault in our own code
            except self._ray.exceptions.RayError as error:
                self._lost(process, todo, error, left)
                continue
            self._failed_starts = 0
            self._idle.append(process)
            if todo is not None:
                result, problem = answer
                if problem:
                    raise UserError(problem)
                yield todo.item, result

    def _lost(self, process: Any, todo: "_Todo[Item] | None", error: Exception, left: list[Item]) -> None:
        """A process has died, or does not answer; what it had to do goes to another."""
        self._ray.kill(process)  # should it be alive, it would keep its place
        if todo is None:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_DEATHS and not (self._idle or self._busy):
                remedy = "install this version of wav2vec2 and its packages on all machines"
                raise UserError(f"--engine ray: no process of the cluster can start: {remedy} ({cause(error)})")
            return
        todo.deaths += 1
        if todo.deaths < _MOST_DEATHS:
            print(f"{self._name(todo.item)}: its process was lost; it is done again", file=sys.stderr, flush=True)
            self._again.append(todo)
        else:
            left.append(todo.item)

    def _start_more(self) -> None:
        """Start as many processes as there is room for, or as were asked for."""
        there = len(self._starting) + len(self._idle) + len(self._busy)
        for _ in range((self._options.ray_models or self._room()) - there):
            process = self._class.remote(*self._arguments)
            self._starting[process.ready.remote()] = process

    def _room(self) -> int:
        """How many processes the nodes that are alive can hold."""
        needs = {name: amount for name, amount in self._needs.items() if amount}
        if not needs:
            return max(1, self._options.ray_models)
        alive = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return sum(min(int(node.get(name, 0.0) / amount) for name, amount in needs.items()) for node in alive)

    def _no_room(self) -> str:
        there = self._ray.cluster_resources()
        has = f"{there.get('CPU', 0.0):g} cores and {there.get('GPU', 0.0):g} GPUs"
        wanted = f"{self._needs['CPU']:g} cores and {self._needs['GPU']:g} GPUs"
        return f"no node has room for a process of {wanted} (the cluster has {has}); see --ray-cpus and --ray-gpus"

    def _say_that_nobody_works(self) -> None:
        if time.monotonic() - self._said > 60:
            self._said = time.monotonic()
            print(f"waiting: {self._no_room()}", file=sys.stderr, flush=True)
