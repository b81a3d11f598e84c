"""The command ``wav2vec2 units``: the quantizer's codeword for every frame, from unmasked features (section 2,
"Quantization module").

A frame has one entry from each of G codebooks of V entries. Its flat unit is the number sum_g entry_g V^(G-1-g), in
[0, V^G).

Legend: B utterances, S samples, T frames, G codebooks, V entries each.
"""

import json
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tyro.conf import OmitArgPrefixes, Positional, arg

from wav2vec2.device import usable_device
from wav2vec2.errors import UserError
from wav2vec2.inference.frame_outputs import ComputeOptions, FrameOutputs, output_names, write_outputs
from wav2vec2.inference.pools import Moments
from wav2vec2.model.encoder import check_lengths
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.output_file import writing

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class UnitsOptions:
    """Write the quantizer's codeword for every frame of audio files.

    Files that cannot be read are named on stderr, one line each, and the others go on.
    """

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A pre-trained model with its quantizer: a directory, checkpoint file or hub id."""
    files: Annotated[tuple[str, ...], Positional, arg(metavar="FILE [FILE ...]")]
    """Audio files, and folders to search for them."""
    format: Literal["text", "jsonl", "npz"] = "text"
    """text: name, tab, flat units.
    jsonl: an object per line with units, codes (entry of each codebook), durations and times.
    npz: the same as arrays, a file in --out for each recording.
    """
    merge: bool = False
    """Merge runs of equal units; durations count the frames of each run."""
    out: Path | None = None
    """Folder for npz files."""
    compute: OmitArgPrefixes[ComputeOptions] = field(default_factory=ComputeOptions)


@torch.inference_mode()
def quantized_units(
    model: Wav2Vec2ForPretraining, waveforms: Tensor, lengths: Tensor | None = None, moments: Moments = None
) -> tuple[Tensor, Tensor]:
    """(B, S) audio -> codebook entries (B, T, G) int64, 0 beyond each end, and frame lengths (B,)."""
    lengths = check_lengths(waveforms, lengths)
    codes = model.codes(waveforms, lengths, moments)
    frames, frame_lengths = torch.arange(codes.shape[1], device=codes.device), model.frame_lengths(lengths)
    return torch.where((frames < frame_lengths[:, None])[:, :, None], codes, 0), frame_lengths


def flat_units(codes: Codes, entries: int) -> Codes:
    """(T, G) codebook entries -> (T,) flat units; the first codebook is the most significant digit."""
    groups = codes.shape[1]
    powers = np.array([entries ** (groups - 1 - group) for group in range(groups)], dtype=np.int64)
    return np.asarray(codes.astype(np.int64) @ powers, dtype=np.int64)


def run_lengths(units: Codes) -> tuple[Codes, Codes]:
    """(T,) units -> the first frame of each run of equal units, and the number of its frames."""
    durations = np.array([len(list(run)) for _, run in groupby(units.tolist())], dtype=np.int64)
    return np.cumsum(durations) - durations, durations


def run(options: UnitsOptions) -> None:
    """Print or write the units of each recording; raises UserError at the end if any failed."""
    if not options.files:
        raise UserError("units: name at least one audio file or folder")
    if (options.format == "npz") != (options.out is not None):
        raise UserError("units: --format npz needs --out FOLDER; text and jsonl go to stdout, without --out")
    files, device = output_names(options.files), usable_device(options.compute.device)
    model = load_quantizing_model(options.model).to(device)

    def compute(waveforms: Tensor, lengths: Tensor, moments: Moments) -> list[tuple[Tensor, ...]]:
        return [(codes,) for codes in quantized_units(model, waveforms, lengths, moments)[0]]

    write_outputs(files, model, compute, partial(_write, options, model), compute_options=options.compute)


def load_quantizing_model(source: str) -> Wav2Vec2ForPretraining:
    """Load a pre-trained model with its quantizer. Raises UserError for a model that has none."""
    from wav2vec2.checkpoints.load import load

    model = load(source)
    if not isinstance(model, Wav2Vec2ForPretraining):
        raise UserError(f"{source}: is a recogniser without a quantizer; give the pre-trained model behind it")
    if not model.quantizes_targets:
        targets = model.architecture.variant.targets
        remedy = "give a model that has one, such as that of the recipe pretrain_small"
        raise UserError(f"{source}: has no learned codebook (its targets are {targets}); {remedy}")
    return model


def _write(options: UnitsOptions, model: Wav2Vec2ForPretraining, result: FrameOutputs, name: str) -> None:
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
