"""May training compute in half precision? The gate: the loss must be that of float32.

    python scripts/precision_gate.py MANIFEST RECIPE --out gate.json

Pre-training runs of the same seed, data and masks, of which only the precision differs: float32, bfloat16 products
(train.precision = bf16), and a residual stream in bfloat16 as well (train.residual = bf16). Two numbers decide:

- one step in evaluation, from the same random weights: the loss must be within 5e-3 of float32's;
- the mean loss of updates 151-200: within 1 %.

On a processor without products in bfloat16 these are imitated, with the same numbers.
"""

import argparse
import itertools
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from wav2vec2.config import load_recipe
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.waveforms import read_utterance
from wav2vec2.model.randomness import Draw
from wav2vec2.train.parallel import blocks
from wav2vec2.train.pretrain.command import PretrainConfig, build_model, run

SETTINGS = {"float32": ("fp32", "float32"), "bf16": ("bf16", "float32"), "bf16, residual": ("bf16", "bf16")}
ONE_STEP, MEAN = 5e-3, 0.01
SECONDS = 3.0


def recipe(file: Path, norm_first: bool, manifest: Path, seconds: float, updates: int) -> PretrainConfig:
    """A short run of a recipe, logged at every update."""
    config: PretrainConfig = load_recipe(file, PretrainConfig)
    return replace(
        config,
        model=replace(config.model, layer_norm_first=norm_first),
        data=replace(config.data, manifest=str(manifest), split="", hold_out=0),
        batch=replace(config.batch, seconds=seconds, micro_seconds=seconds, max_seconds=SECONDS, workers=0),
        train=replace(config.train, updates=updates, threads=1),
        log=replace(config.log, every=1, validate_every=0, save_every=0, tensorboard=False),
        health=replace(config.health, enabled=False),
    )


def with_precision(config: PretrainConfig, name: str, output: Path) -> PretrainConfig:
    """The run with one of the ``SETTINGS``."""
    precision, residual = SETTINGS[name]
    return replace(config, output=str(output), train=replace(config.train, precision=precision, residual=residual))


@torch.no_grad()
def one_step(config: PretrainConfig) -> dict[str, float]:
    """The contrastive loss of four recordings by random weights in evaluation, for each setting."""
    manifest = Manifest.open(config.data.manifest)
    pieces = [torch.from_numpy(read_utterance(row)) for row in itertools.islice(manifest, 4)]
    generator = torch.Generator().manual_seed(7)
    samples = min(round(SECONDS * 16_000), *map(len, pieces))
    waveforms = torch.stack([piece[:samples] for piece in pieces])
    found = {}
    for name, (precision, residual) in SETTINGS.items():
        model = build_model(config)[0].eval()
        for block in blocks(model):
            block.residual = torch.bfloat16 if residual == "bf16" else torch.float32
        units = None
        if config.units.given:
            frames = model.architecture.frame_length(samples)
            units = torch.randint(config.units.clusters, (4, frames, 1), generator=generator.manual_seed(7))
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            output = model(waveforms, draw=Draw(7, 0, torch.arange(4)), units=units)
        found[name] = (output.contrastive_sum / output.masked).item()
    return found


def losses(config: PretrainConfig) -> list[float]:
    """The contrastive loss of every update of a run."""
    run(config)
    records = [json.loads(line) for line in (Path(config.output) / "log.jsonl").read_text().splitlines()]
    return [record["contrastive"] for record in records if record["kind"] == "train"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("recipe", type=Path, help="of pre-training, in which something is learned in so few updates")
    parser.add_argument("--norm-first", action="store_true", help="the family with layer norms before the blocks")
    parser.add_argument("--seconds", type=float, default=16.0, help="audio of an update")
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--out", type=Path, help="write the numbers here (JSON)")
    o = parser.parse_args()
    config, failed = recipe(o.recipe, o.norm_first, o.manifest, o.seconds, o.updates), 0
    measured: dict[str, dict[str, float]] = {"one step": one_step(config), "mean of the last quarter": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in SETTINGS:
            found = losses(with_precision(config, name, Path(folder) / name.replace(", ", "_")))
            measured["mean of the last quarter"][name] = sum(found[-(o.updates // 4) :]) / (o.updates // 4)
    for (what, numbers), limit in zip(measured.items(), (ONE_STEP, MEAN), strict=True):
        for name, value in numbers.items():
            off = abs(value / numbers["float32"] - 1)
            failed += off > limit
            print(f"{what:<26}{name:<16}{value:.5f}  off by {off:.2e}, {'PASSES' if off <= limit else 'FAILS'}")
    if o.out is not None:
        o.out.write_text(json.dumps(measured, indent=1) + "\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
