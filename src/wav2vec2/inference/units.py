"""``wav2vec2 units MODEL FILES...``: the pre-training quantizer's entry for every frame (section 2, "Quantization
module"), from unmasked features.

A frame has one entry in each of G codebooks of V; its flat unit is the number sum_g entry_g * V^(G-1-g), in [0, V^G).

Legend: B utterances, S samples, T frames, G codebooks, V entries each.
"""

import json
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tyro.conf import Positional, arg

from wav2vec2.device import usable_device
from wav2vec2.errors import UserError
from wav2vec2.inference.frame_outputs import ComputeOptions, FrameOutputs, named_files, write_outputs
from wav2vec2.model.encoder import check_lengths
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.output_file import writing

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class UnitsOptions(ComputeOptions):
    """Write the quantizer's choice for every frame of recordings. Files that fail get one line each on stderr."""

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A pre-trained model: a directory or checkpoint file with its quantizer."""
    files: Annotated[tuple[str, ...], Positional, arg(metavar="FILE [FILE ...]")]
    """Audio files, and folders that are searched for them."""
    format: Literal["text", "jsonl", "npz"] = "text"
    """text: name, tab, flat units. jsonl: an object a line with units, entries per codebook, durations and times. npz:
    the same as arrays, a file for each recording in --out."""
    merge: bool = False
    """Merge runs of equal units; durations then tell how many frames each lasted."""
    out: Path | None = None
    """Folder for npz files."""


@torch.inference_mode()
def quantized_units(
    model: Wav2Vec2ForPretraining, waveforms: Tensor, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(B, S) audio -> entries (B, T, G) int64, 0 beyond each end, and frame lengths (B,)."""
    lengths = check_lengths(waveforms, lengths)
    codes = model.codes(waveforms, lengths)
    frames, frame_lengths = torch.arange(codes.shape[1], device=codes.device), model.frame_lengths(lengths)
    return torch.where((frames < frame_lengths[:, None])[:, :, None], codes, 0), frame_lengths


def flat_units(codes: Codes, entries: int) -> Codes:
    """(T, G) entries -> (T,) flat units, the first codebook the most significant."""
    groups = codes.shape[1]
    powers = np.array([entries ** (groups - 1 - group) for group in range(groups)], dtype=np.int64)
    return np.asarray(codes.astype(np.int64) @ powers, dtype=np.int64)


def run_lengths(units: Codes) -> tuple[Codes, Codes]:
    """(T,) units -> where each run of equal units begins, and how many frames it lasts."""
    durations = np.array([len(list(run)) for _, run in groupby(units.tolist())], dtype=np.int64)
    return np.cumsum(durations) - durations, durations


def run(options: UnitsOptions) -> None:
    """Print or write the units; raises UserError at the end if any recording failed."""
    if not options.files:
        raise UserError("units: name at least one audio file or folder")
    if (options.format == "npz") != (options.out is not None):
        raise UserError("--format npz needs --out FOLDER, and text and jsonl go to stdout")
    files, device = named_files(options.files), usable_device(options.device)
    model = quantizing_model(options.model).to(device)

    def compute(waveforms: Tensor, lengths: Tensor) -> list[tuple[Tensor, ...]]:
        return [(codes,) for codes in quantized_units(model, waveforms, lengths)[0]]

    write = partial(_show, options, model)
    write_outputs(files, model, compute, write, options=options, lacking="units")


def quantizing_model(source: str) -> Wav2Vec2ForPretraining:
    """Load a pre-trained model with its quantizer. Raises UserError for a recogniser, which has none."""
    from wav2vec2.checkpoints.load import load

    model = load(source)
    if not isinstance(model, Wav2Vec2ForPretraining):
        raise UserError(f"{source}: is a recogniser without quantizer; give the pre-trained model that it came from")
    if not model.quantizes_targets:
        raise UserError(f"{source}: has no learned codebook (its targets are {model.architecture.variant.targets})")
    return model


def _show(options: UnitsOptions, model: Wav2Vec2ForPretraining, result: FrameOutputs, name: str) -> None:
    codes = result.tensors[0].numpy()
    units = flat_units(codes, model.quantizer.entries)
    starts, durations = np.arange(len(units)), np.ones(len(units), dtype=np.int64)
    if options.merge:
        starts, durations = run_lengths(units)
    arrays: dict[str, Any] = {
        "units": units[starts],
        "codes": codes[starts],
        "durations": durations,
        "times": np.array([model.architecture.frame_center(int(start)) for start in starts]),
    }
    if options.out is not None:
        path = options.out / f"{name}.npz"
        with writing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
        print(f"{path}\t{len(starts)} units")
    elif options.format == "jsonl":
        print(json.dumps({"source": result.recording.name, **{key: array.tolist() for key, array in arrays.items()}}))
    else:
        print(f"{result.recording.name}\t{' '.join(map(str, arrays['units'].tolist()))}", flush=True)
