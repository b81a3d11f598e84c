"""What glibc's default allocator costs: the same steps with and without freed memory kept, in turns.

    python benchmarks/allocator.py base pretrain --batch 2 --seconds 8
    python benchmarks/allocator.py base pretrain --batch 2 --seconds 8 --side transformers

Two processes take A B B A turns on the same ragged batches of noise, with one thread. The ratio is that of CPU times.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from arguments import run

import wav2vec2
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import ARCHITECTURES
from wav2vec2.train.benchmark.ours import build
from wav2vec2.train.benchmark.turns import OURS, THEIRS, Opponent, Turn
from wav2vec2.train.benchmark.workload import Workload, made_up_audio


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(ARCHITECTURES))
    parser.add_argument("task", choices=["pretrain", "finetune", "inference"])
    parser.add_argument("--side", default=OURS, choices=[OURS, THEIRS])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def main() -> None:
    o = options()
    w = Workload(o.task, ARCHITECTURES[o.model], threads=1)
    with tempfile.TemporaryDirectory() as folder:
        if o.side == THEIRS:
            wav2vec2.save(build(w), folder)
        sides = [Opponent(o.side, w, Path(folder), keep=keep) for keep in (True, False)]
        if not sides[0].keeps_freed_memory:
            raise UserError("the C library is not glibc, or the environment sets its allocator: nothing to compare")
        turns: list[list[Turn]] = [[], []]
        for number in range(o.rounds + 1):
            rows = made_up_audio(o.batch, o.seconds, ragged=True, seed=number)
            for which in (0, 1) if number % 2 else (1, 0):
                turn = sides[which].ask("turn", rows, number, 1, 0)
                if number:
                    turns[which].append(turn)
        peaks = [side.ask("peak") / 2**20 for side in sides]
        for side in sides:
            side.end()
    ratio = statistics.median(b.cpu_seconds / a.cpu_seconds for a, b in zip(*turns, strict=True))
    memory = f"peak {peaks[0]:.0f} MiB where it is kept, {peaks[1]:.0f} MiB where it is not"
    print(f"{o.side}, {o.model}, {o.task}: glibc's default costs {ratio:.2f}x; {memory}")


if __name__ == "__main__":
    run(main)
