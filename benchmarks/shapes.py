"""How full the forward passes of the recipes are, how much is padded, and how much audio an epoch leaves out.

    python benchmarks/shapes.py [--manifest data]

The lengths are those of LibriSpeech's 960 hours (281,241 utterances with its published percentiles), or of a manifest.
``fill`` is the share of ``batch.micro_seconds`` that a forward pass holds, ``even`` the mean work of a process over
that of the busiest one, ``padding`` the share of what is computed, ``lost`` the share of the audio that an epoch does
not hear, beyond the crop to ``batch.max_seconds``.
"""

import argparse
from pathlib import Path

from arguments import run
from librispeech_lengths import librispeech_samples

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.config import load_recipe
from wav2vec2.data.batch_plan import BatchPlan
from wav2vec2.train.corpus import open_manifest
from wav2vec2.train.options import BatchConfig
from wav2vec2.train.pretrain.command import PretrainConfig

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", default="", help="measure these utterances instead")
    parser.add_argument("--recipes", nargs="+", default=["pretrain_base", "pretrain_large"])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 8, 64, 128, 512])
    options = parser.parse_args()
    samples = librispeech_samples()
    if options.manifest:
        samples = open_manifest(options.manifest, "", "--manifest").samples
    print("| recipe | lengths | processes | fill | even | padding | lost | updates an epoch |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in options.recipes:
        batch: BatchConfig = load_recipe(RECIPES / f"{name}.toml", PretrainConfig).batch
        for buckets in sorted({0, batch.buckets}):
            for world in options.processes:
                plan = BatchPlan(
                    samples,
                    batch_samples=round(batch.seconds * SAMPLE_RATE),
                    group_samples=round(batch.micro_seconds * world * SAMPLE_RATE),
                    max_samples=round(batch.max_seconds * SAMPLE_RATE),
                    min_samples=round(batch.min_seconds * SAMPLE_RATE),
                    seed=1,
                    buckets=buckets,
                    multiple=batch.multiple,
                )
                found = plan.usage(0, world)
                shares = (found.fill, found.even, found.padding, found.lost)
                cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
                print(f"| {name} | {buckets or 'own'} | {world} | {cells} | {plan.batches(0):,} |", flush=True)


if __name__ == "__main__":
    run(main)
