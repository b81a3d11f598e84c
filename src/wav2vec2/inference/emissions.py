"""The log-probabilities of a manifest's utterances, computed once and kept on disk: what tuning and benchmarks decode
again and again.
"""

import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from wav2vec2.audio.recordings import Failure, Recording, Waveform
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance
from wav2vec2.data.waveforms import read_utterance
from wav2vec2.decode.hypothesis import Emissions
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel, Frames
from wav2vec2.output_file import writing

Precision = Literal["float32", "float16"]
_FORMAT = 1


@dataclass(frozen=True)
class Emitted:
    """An utterance with a reference and its frames' log-probabilities, (T, V) nats."""

    id: str
    text: str
    log_probs: Emissions


def utterance_recording(utterance: Utterance) -> Recording:
    """The audio of a manifest's row, read when it is needed."""

    def read(start: int, count: int) -> Waveform:
        return read_utterance(replace(utterance, start=utterance.start + start, samples=count))

    return Recording(utterance.id, utterance.samples, read)


def cached_emissions(
    model: AcousticModel,
    manifest: Manifest,
    cache: str | Path | None,
    *,
    source: str = "",
    precision: Precision = "float32",
) -> Iterator[Emitted]:
    """Yield the transcribed utterances of `manifest` in order, from the file `cache` as far as it has them.

    What was computed is written to `cache` (a .npz of arrays) at the end, and also when something interrupts, so that
    the same call goes on there. source: names the model's weights; with the manifest's rows it must be what the file
    was computed from. An utterance that cannot be read is named on stderr and left out. Raises UserError for a file
    that is damaged or belongs to another model or manifest.
    """
    rows = [utterance for utterance in manifest if utterance.text is not None]
    key = _key(rows, source, model)
    known = {} if cache is None or not Path(cache).is_file() else _read(Path(cache), key)
    missing = [utterance for utterance in rows if utterance.id not in known]
    computed: dict[str, Emissions] = {}
    try:
        yield from _in_order(model, rows, known, computed, missing)
    finally:
        if cache is not None and computed:
            _write(Path(cache), key, known | computed, precision)


def _in_order(
    model: AcousticModel,
    rows: Sequence[Utterance],
    known: dict[str, Emissions],
    computed: dict[str, Emissions],
    missing: Sequence[Utterance],
) -> Iterator[Emitted]:
    pools = model.pools((utterance_recording(utterance) for utterance in missing), log_probs=True)
    coming = (frames for pool in pools for frames in pool)
    for utterance in rows:
        if utterance.id not in known:
            frames = next(coming)
            if isinstance(frames, Failure):
                print(f"{frames.source}: {frames.message}", file=sys.stderr)
                continue
            computed[utterance.id] = _log_probs(frames)
        found = known.get(utterance.id)
        yield Emitted(utterance.id, utterance.text or "", computed[utterance.id] if found is None else found)


def _log_probs(frames: Frames) -> Emissions:
    assert frames.log_probs is not None  # asked for above
    return frames.log_probs


def _key(rows: Sequence[Utterance], source: str, model: AcousticModel) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {source} {model.windows} {len(model.vocabulary)}".encode())
    for row in rows:
        digest.update(json.dumps([row.id, row.path, row.start, row.samples]).encode())
    return digest.hexdigest()


def _read(path: Path, key: str) -> dict[str, Emissions]:
    try:
        with np.load(path) as stored:
            if str(stored["key"]) != key:
                raise UserError(
                    f"{path}: holds log-probabilities of another model or manifest; delete it or name another file"
                )
            flat = stored["log_probs"].astype(np.float32)
            edges = np.cumsum([0, *stored["lengths"]])
            if edges[-1] != len(flat):
                raise ValueError("its lengths do not fit")
            ids = [str(name) for name in stored["ids"]]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: is not a readable cache of log-probabilities ({error}); delete it") from error
    return {name: flat[edges[row] : edges[row + 1]] for row, name in enumerate(ids)}


def _write(path: Path, key: str, emissions: dict[str, Emissions], precision: Precision) -> None:
    flat = np.concatenate(list(emissions.values())).astype(precision)
    lengths = np.array([len(array) for array in emissions.values()])
    with writing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, key=np.array(key), ids=np.array(list(emissions)), lengths=lengths, log_probs=flat)
