"""Two nodes of a training run lose each other's network, and the run ends as if nothing had happened.

    sudo python -m scripts.two_nodes --work /tmp/two-nodes

Two network namespaces of Linux stand for the nodes: each has its own interface and address, and they are joined by a
virtual cable. On each of them torchrun's launcher starts one process, and a loop starts the launcher again if it fails,
as Slurm and Kubernetes do. The run is made three times: undisturbed; with the cable pulled for a few seconds, which TCP
survives; and with the cable pulled for longer than the processes wait for each other (``parallel.timeout_minutes``), so
that both sides give up, meet again and go on from the newest checkpoint. All weights and losses must be those of the
undisturbed run, bit for bit.

It needs root, and the program ``ip`` (Debian: iproute2).
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from tests.train.tiny_run import logged, newest_weights, pretrain_config, with_train, write_corpus

from wav2vec2.config import write_toml
from wav2vec2.train.checkpoint.folder import Checkpoints
from wav2vec2.train.options import ParallelConfig
from wav2vec2.train.pretrain.command import PretrainConfig

ADDRESSES = ("10.214.77.1", "10.214.77.2")
PORT = 29_477
TIMEOUT_SECONDS = 6.0
DEADLINE_SECONDS = 300.0
LOSSES = ("loss", "contrastive", "diversity", "gradient_norm")


def ip(*words: str) -> None:
    """Run the program ``ip``."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Network:
    """Two namespaces and the cable between them."""

    def __init__(self, label: str) -> None:
        self.spaces = [f"w2v-{label}-{node}" for node in (0, 1)]
        self.cables = [f"w2v{label}{node}" for node in (0, 1)]

    def __enter__(self) -> "Network":
        for space in self.spaces:
            ip("netns", "add", space)
        ip("link", "add", self.cables[0], "type", "veth", "peer", "name", self.cables[1])
        for space, cable, address in zip(self.spaces, self.cables, ADDRESSES, strict=True):
            ip("link", "set", cable, "netns", space)
            ip("-n", space, "addr", "add", f"{address}/24", "dev", cable)
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", space, "link", "set", cable, "up")
        return self

    def __exit__(self, *_: object) -> None:
        for space in self.spaces:  # its end of the cable goes with it
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)

    def pull(self) -> None:
        """Cut node 1 off."""
        ip("-n", self.spaces[1], "link", "set", self.cables[1], "down")

    def plug(self) -> None:
        """Join the nodes again."""
        ip("-n", self.spaces[1], "link", "set", self.cables[1], "up")


class Node:
    """A launcher in a namespace, which is started again until it ends well."""

    def __init__(self, network: Network, number: int, recipe: Path, console: Path) -> None:
        rendezvous = ["--rdzv-backend=c10d", f"--rdzv-endpoint={ADDRESSES[0]}:{PORT}", "--rdzv-id=two-nodes"]
        launch = [sys.executable, "-m", "wav2vec2.train.launch", "--nnodes=2", "--nproc-per-node=1", "--max-restarts=9"]
        local = [f"--local-addr={ADDRESSES[number]}", f"--rdzv-conf=is_host={int(number == 0)},join_timeout=60"]
        self._command = ["ip", "netns", "exec", network.spaces[number], *launch, *rendezvous, *local]
        self._command += ["-m", "wav2vec2", "pretrain", str(recipe)]
        self._environment = os.environ | {"GLOO_SOCKET_IFNAME": network.cables[number], "OMP_NUM_THREADS": "1"}
        self._console = console
        self._process: subprocess.Popen[bytes] | None = None
        self._over = False
        self.status: int | None = None
        self._thread = threading.Thread(target=self._keep_running)
        self._thread.start()

    def _keep_running(self) -> None:
        while not self._over and self.status != 0:
            with open(self._console, "ab") as console:
                self._process = subprocess.Popen(
                    self._command, env=self._environment, stdout=console, stderr=console, start_new_session=True
                )
                self.status = self._process.wait()
            time.sleep(1.0)

    def join(self, seconds: float) -> bool:
        """Wait for the end; whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def kill(self) -> None:
        """End the launcher and its processes."""
        self._over = True
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._thread.join()


@contextmanager
def nodes(network: Network, recipe: Path) -> Iterator[list[Node]]:
    """Both nodes, killed at the end if they still run."""
    started: list[Node] = []
    try:
        for number in (0, 1):
            started.append(Node(network, number, recipe, recipe.with_suffix(f".{number}.txt")))
        yield started
    finally:
        for node in started:
            node.kill()


def newest(config: PretrainConfig) -> int:
    """Update of the newest checkpoint; 0 if there is none."""
    latest = Checkpoints(Path(config.output) / "checkpoints", 1).latest()
    return 0 if latest is None else int(latest.name)


def run(config: PretrainConfig, work: Path, cut_seconds: float) -> int:
    """Make the run, with the cable pulled after its first checkpoint for so long; returns how often training began.

    Raises:
        RuntimeError: it has not ended after ``DEADLINE_SECONDS``.
    """
    recipe = work / f"{Path(config.output).name}.toml"
    write_toml(config, recipe)
    with Network(f"{os.getpid() % 10_000}") as network, nodes(network, recipe) as both:
        deadline = time.monotonic() + DEADLINE_SECONDS
        if cut_seconds:
            while not newest(config) and time.monotonic() < deadline:
                time.sleep(0.05)
            network.pull()
            time.sleep(cut_seconds)
            network.plug()
        if not all(node.join(max(0.0, deadline - time.monotonic())) for node in both):
            said = "\n".join(recipe.with_suffix(f".{number}.txt").read_text()[-3000:] for number in (0, 1))
            raise RuntimeError(f"{recipe.stem}: has not ended after {DEADLINE_SECONDS:.0f} s\n{said}")
    return recipe.with_suffix(".0.txt").read_text().count("training speech:")


def losses(config: PretrainConfig) -> dict[int, list[float]]:
    """Numbers of each update."""
    return {record["update"]: [record[name] for name in LOSSES] for record in logged(config.output)}


def differences(config: PretrainConfig, expected: PretrainConfig) -> int:
    """How many weights and updates differ from the expected run's."""
    ours, theirs = newest_weights(config), newest_weights(expected)
    lines, undisturbed = losses(config), losses(expected)
    unequal = sum(not torch.equal(ours[name], value) for name, value in theirs.items())
    return unequal + sum(lines.get(update) != line for update, line in undisturbed.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if both disturbed runs are the undisturbed one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs; it is deleted first")
    parser.add_argument("--updates", type=int, default=120)
    parser.add_argument("--cuts", type=float, nargs="*", default=[2.0, 20.0], help="seconds without a network")
    options = parser.parse_args(arguments)
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    manifest = write_corpus(options.work / "corpus")
    config = with_train(pretrain_config(manifest, options.work / "undisturbed"), updates=options.updates)
    config = replace(config, log=replace(config.log, every=1, validate_every=20, save_every=5))
    config = replace(config, parallel=ParallelConfig(timeout_minutes=TIMEOUT_SECONDS / 60))
    run(config, options.work, 0.0)
    different = 0
    for seconds in options.cuts:
        cut = replace(config, output=str(options.work / f"cut-{seconds:g}"))
        began = run(cut, options.work, seconds)
        unequal = differences(cut, config)
        different += unequal
        print(f"{seconds:g} s without a network: began {began} times, {unequal} numbers differ", flush=True)
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
