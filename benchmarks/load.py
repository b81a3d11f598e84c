"""Peak memory of loading a large sharded model: it should be that of the model and one shard, not of two copies.

    python benchmarks/load.py --architecture 1b --shards 4 --folder /tmp/big

Writes a synthetic bfloat16 model of a published size, shard by shard, loads it in a new process, and prints by how much
the peak resident memory of that process grew. The model is removed at the end.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from wav2vec2.checkpoints.checkpoint import Checkpoint
from wav2vec2.checkpoints.huggingface.directory import config_json
from wav2vec2.checkpoints.names import huggingface_name
from wav2vec2.model.architecture import ARCHITECTURES, Masking, Regularization

MB = 1 << 20


def write(folder: Path, name: str, shards: int) -> None:
    """Write a pre-training model directory with its tensors spread evenly over ``shards`` files."""
    a = ARCHITECTURES[name]
    model = Checkpoint(
        folder, "model directory", "pretraining", a, Regularization(), Masking(), lambda: None, huggingface_name
    ).skeleton()
    folder.mkdir(parents=True)
    config = config_json(a, Regularization(), Masking(), kind="pretraining", dtype=torch.bfloat16)
    (folder / "config.json").write_text(json.dumps(config))
    state = model.state_dict()
    limit = sum(value.numel() for value in state.values()) / shards
    index, shard, held, number = {}, {}, 0, 1
    names = list(state)
    for place, key in enumerate(names):
        shard[huggingface_name(key)] = torch.full(state[key].shape, 0.01, dtype=torch.bfloat16)
        held += state[key].numel()
        if held >= limit or place == len(names) - 1:
            file = f"model-{number:05d}-of-{shards:05d}.safetensors"
            save_file(shard, folder / file)
            index |= dict.fromkeys(shard, file)
            shard, held, number = {}, 0, number + 1
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


LOADING = """
import json, resource, sys, time
import torch, wav2vec2
import wav2vec2.checkpoints.load
dtype = getattr(torch, sys.argv[2])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, start = peak(), time.perf_counter()
model = wav2vec2.load(sys.argv[1], dtype=dtype)
seconds = time.perf_counter() - start
size = sum(p.nbytes for p in model.parameters()) / 2**20
print(json.dumps({"before": before, "peak": peak(), "model": size, "seconds": seconds}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="1b", choices=list(ARCHITECTURES))
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    options = parser.parse_args()
    folder = options.folder / f"synthetic-{options.architecture}"
    try:
        start = time.perf_counter()
        write(folder, options.architecture, options.shards)
        files = [path.stat().st_size / MB for path in folder.glob("*.safetensors")]
        print(f"written: {sum(files):.0f} MB in {len(files)} shards, {time.perf_counter() - start:.0f} s", flush=True)
        command = [sys.executable, "-c", LOADING, str(folder), options.dtype]
        done = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    grown, bound = done["peak"] - done["before"], done["model"] + max(files)
    print(f"model {done['model']:.0f} MB, largest shard {max(files):.0f} MB, their sum {bound:.0f} MB")
    print(f"peak while loading {grown:.0f} MB ({grown / bound:.2f} of that sum), {done['seconds']:.1f} s")


if __name__ == "__main__":
    main()
