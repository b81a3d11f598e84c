"""The command ``wav2vec2 features``: the outputs of chosen Transformer layers for every frame.

Layer 0 is the input of the first Transformer block, layer k the output of block k. Two conventions are in use. They
differ only in the last layer of the pre-LN family (LV-60k, XLSR, XLS-R, MMS), whose context vectors are the output of
one more layer norm:

- **fairseq**: the output of the last block, before that norm.
- **transformers**: after it, as in `last_hidden_state`.

In the post-LN family (BASE, LARGE) they are the same.

Legend: B utterances, S samples, T frames, d channels.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from tyro.conf import OmitArgPrefixes, Positional, arg

from wav2vec2.bulk.options import BulkOptions, manifest_among
from wav2vec2.bulk.run import run_over_manifest
from wav2vec2.device import usable_device
from wav2vec2.errors import UserError
from wav2vec2.inference.frame_columns import Dtype, EmissionsJob, FeaturesJob, chosen_layers, layer_outputs
from wav2vec2.inference.frame_outputs import ComputeOptions, FrameOutputs, output_names, write_outputs
from wav2vec2.model.architecture import Architecture
from wav2vec2.output_file import writing


@dataclass(frozen=True)
class FeaturesOptions:
    """Write the outputs of one or more Transformer layers for every frame, a file for each recording.

    A file holds `layer_<k>` (frames, channels) for each chosen layer and `times` (frames,), the centre of each frame in
    seconds. Of a manifest, --out holds Parquet files with a row for each of its rows: `frames` and the numbers of
    `layer_<k>`, frame by frame. They appear as they are finished; the same command goes on after an interruption.
    """

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A model directory, checkpoint file or hub id, pre-trained or fine-tuned."""
    files: Annotated[tuple[str, ...], Positional, arg(metavar="FILE [FILE ...]")]
    """Audio files, and folders to search for them; or a manifest (MANIFEST.parquet)."""
    language: str | None = None
    """Language of a multilingual model such as facebook/mms-1b-all, by its code of three letters, such as swh."""
    out: Path | None = None
    """Folder for the output files NAME.npz or NAME.safetensors, or those of a manifest (required)."""
    layer: tuple[int, ...] = ()
    """Layers: 1 is the first, 0 its input; negative numbers count from the last, -1, which is taken if none is given.
    For phones, a layer from the middle on is usual, as 6 of 12 for HuBERT's units. 'wav2vec2 info MODEL' says how many
    there are."""
    all_layers: bool = False
    """Every layer, including layer 0."""
    emissions: bool = False
    """Of a manifest: the log-probabilities of a recogniser's symbols, in nats, instead of the outputs of layers."""
    convention: Literal["fairseq", "transformers"] = "transformers"
    """Last layer of a pre-LN model: fairseq takes it before the final layer norm, transformers after it."""
    format: Literal["npz", "safetensors"] = "npz"
    """Format of the output files of recordings."""
    dtype: Annotated[Dtype | None, arg(metavar="{float32,float16}", help_behavior_hint="(default: see there)")] = None
    """Type of the numbers; float16 halves the size of the files. If not given, float32, but float16 of a manifest."""
    compute: OmitArgPrefixes[ComputeOptions] = field(default_factory=ComputeOptions)
    bulk: OmitArgPrefixes[BulkOptions] = field(default_factory=BulkOptions)


def run(options: FeaturesOptions) -> None:
    """Write a file for each recording; raises UserError at the end if any failed."""
    from wav2vec2.checkpoints.load import load

    if not options.files or options.out is None:
        raise UserError("features: name at least one audio file or folder, and the output folder with --out")
    if (manifest := manifest_among(options.files)) is not None:
        run_over_manifest(_job(options), manifest, options.out, options.bulk)
        return
    options.bulk.refuse("features")
    if options.emissions:
        raise UserError("features: --emissions is for a manifest; write one with 'wav2vec2 prepare folder'")
    files, device = output_names(options.files), usable_device(options.compute.device)
    model = load(options.model, language=options.language).to(device)
    layers = chosen_layers(options.layer, model.architecture, every=options.all_layers)
    compute = layer_outputs(model, layers, closing_norm=options.convention == "transformers")

    def write(result: FrameOutputs, name: str) -> None:
        assert options.out is not None
        _write(result, options.out / f"{name}.{options.format}", options, layers, model.architecture)

    write_outputs(files, model, compute, write, compute_options=options.compute)


def _job(options: FeaturesOptions) -> EmissionsJob | FeaturesJob:
    dtype = options.dtype or "float16"
    if options.emissions:
        if options.layer or options.all_layers:
            raise UserError("features: --emissions and --layer exclude each other; give only one")
        return EmissionsJob(options.model, options.compute, dtype, language=options.language)
    closing_norm = options.convention == "transformers"
    layers = options.layer, options.all_layers
    return FeaturesJob(options.model, options.compute, *layers, closing_norm, dtype, language=options.language)


def _write(
    result: FrameOutputs, path: Path, options: FeaturesOptions, layers: list[int], architecture: Architecture
) -> None:
    arrays = {
        f"layer_{layer}": tensor.numpy().astype(options.dtype or "float32")
        for layer, tensor in zip(layers, result.tensors, strict=True)
    }
    frames = len(result.tensors[0])
    times = np.array([architecture.frame_center(frame) for frame in range(frames)], dtype=np.float64)
    with writing(path) as temporary, open(temporary, "wb") as file:
        if options.format == "npz":
            np.savez(file, times=times, **arrays)  # type: ignore[arg-type]
        else:
            from safetensors.numpy import save

            about = {"source": result.recording.name, "convention": options.convention}
            file.write(save({**arrays, "times": times}, about))
    print(f"{path}\t{frames} frames")
