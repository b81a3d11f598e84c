"""Pre-training steps (forward, backward, AdamW) of this package and of transformers, side by side on real speech.

    python benchmarks/pretrain_step.py --speech ../shared/speech --json pretrain_step.json

Same weights, same utterances, same dropout probabilities, float32 on the CPU. Speed is seconds of speech per second of
computing, so whoever computes on padding pays for it. ``--quick`` is short, ``--profile`` shows where the time goes.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from arguments import comparison_parser, run
from peers import SIDES, Peers, Task
from speech import batches, speech_root
from table import compare, publish

import wav2vec2
from wav2vec2.model.architecture import ARCHITECTURES
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining

BATCH = {"base": 4, "small": 8}


def options() -> argparse.Namespace:
    parser = comparison_parser(__doc__, split="train", rounds=5)
    parser.add_argument("--workloads", nargs="+", default=["equal", "ragged"], choices=["equal", "ragged"])
    parser.add_argument("--batch", type=int, help="utterances a batch; default: 4 for base, 8 for small")
    parser.add_argument("--seconds", type=float, default=10.0, help="length in the equal workload")
    parser.add_argument("--quick", action="store_true", help="one round of short utterances, default allocator")
    return parser.parse_args()


def main() -> None:
    o = options()
    if o.quick:
        o.rounds, o.seconds, o.allocators = 1, 4.0, ["default"]
    root = speech_root(o.speech)
    comparisons = []
    for name in o.models:
        size = o.batch or BATCH.get(name, 4)
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(0)
            wav2vec2.save(Wav2Vec2ForPretraining(ARCHITECTURES[name]), folder)
            for workload in o.workloads:
                seconds = o.seconds if workload == "equal" else None
                rows = batches(root, o.split, size=size, number=o.rounds, seconds=seconds)
                label = f"{size} x {o.seconds:g} s" if workload == "equal" else f"{size} of 2-16 s"
                for allocator in o.allocators:
                    task = Task("pretrain", Path(folder), o.threads, allocator == "mallopt")
                    if o.profile:
                        peers = Peers(task)
                        for side in SIDES:
                            print(f"\n{name}, {label}, {side}\n{peers.ask(side, 'profile', rows[0])}")
                        peers.finish()
                        continue
                    comparisons.append(compare(name, label, allocator, rows, Peers(task).measure(rows, o.warmup)))
                    print(f"{name}, {label}, {allocator}: {comparisons[-1].ratio:.2f}x", file=sys.stderr)
    if comparisons:
        publish("Pre-training step, float32, CPU: seconds of speech per second", comparisons, o.threads, o.json)


if __name__ == "__main__":
    run(main)
