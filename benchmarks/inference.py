"""Speed from audio to logits of this package and of transformers, in batches in the order of the manifest.

    python benchmarks/inference.py --speech ../shared/speech --json inference.json

Same weights, same utterances, float32 on the CPU. Utterances are not sorted by length, so that computing on padding
costs time. Before timing, both sides must give the same logits for one utterance.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from arguments import comparison_parser, run
from peers import SIDES, Peers, Task
from speech import batches, speech_root
from table import compare, publish

import wav2vec2
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import ARCHITECTURES
from wav2vec2.model.ctc import Wav2Vec2ForCTC

SYMBOLS = 32


def options() -> argparse.Namespace:
    parser = comparison_parser(__doc__, split="test-clean", rounds=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="two batches, default allocator")
    return parser.parse_args()


def check_equal(peers: Peers, waveform: np.ndarray) -> float:
    """Return the largest difference of the logits of one utterance; raises UserError if it is too large."""
    ours, theirs = (peers.ask(side, "output", [waveform]) for side in SIDES)
    difference = float(np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max()))
    if difference > 1e-4:
        raise UserError(f"the two sides differ by {difference:.2g} in their logits; their times cannot be compared")
    return difference


def main() -> None:
    o = options()
    if o.quick:
        o.rounds, o.allocators = 2, ["default"]
    rows = batches(speech_root(o.speech), o.split, size=o.batch, number=o.rounds, seconds=None)
    comparisons = []
    for name in o.models:
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(0)
            wav2vec2.save(Wav2Vec2ForCTC(ARCHITECTURES[name], SYMBOLS), folder)
            for allocator in o.allocators:
                peers = Peers(Task("infer", Path(folder), o.threads, allocator == "mallopt"))
                if o.profile:
                    for side in SIDES:
                        print(f"\n{name}, {side}\n{peers.ask(side, 'profile', rows[0])}")
                    peers.finish()
                    continue
                difference = check_equal(peers, rows[0][0])
                measured = peers.measure(rows, o.warmup)
                comparisons.append(compare(name, f"{o.batch} of 2-16 s", allocator, rows, measured))
                print(f"{name}, {allocator}: {comparisons[-1].ratio:.2f}x, equal to {difference:.1g}", file=sys.stderr)
    if comparisons:
        publish("Inference to logits, float32, CPU: seconds of speech per second", comparisons, o.threads, o.json)


if __name__ == "__main__":
    run(main)
