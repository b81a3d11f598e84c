"""Log-probabilities of a manifest's utterances, computed once and kept on disk for tuning and benchmarks."""

import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from wav2vec2.audio.recordings import Failure
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance
from wav2vec2.decode.hypothesis import Emissions
from wav2vec2.errors import UserError, cause
from wav2vec2.inference.acoustic_model import AcousticModel
from wav2vec2.inference.manifest_rows import transcribed_utterances, utterance_recording
from wav2vec2.output_file import writing

Precision = Literal["float32", "float16"]
_FORMAT = 1


@dataclass(frozen=True)
class UtteranceEmissions:
    """The reference of an utterance and its log-probabilities, (T, V) in nats."""

    id: str
    text: str
    log_probs: Emissions


def cached_emissions(
    model: AcousticModel,
    manifest: Manifest,
    cache: str | Path | None,
    *,
    source: str = "",
    precision: Precision = "float32",
) -> Iterator[UtteranceEmissions]:
    """Yield the emissions of the transcribed utterances of `manifest`, in order; read those that `cache` holds.

    What was computed is written to `cache` (an .npz file) at the end, and also after an interruption, so that the same
    call continues from there. source: identifies the model's weights. A cache computed by another `source`, or for
    other rows, is refused. An utterance that cannot be read is named on stderr and left out.

    Raises UserError for a cache that is damaged or belongs to another model or manifest.
    """
    rows = list(transcribed_utterances(manifest))
    key = _key(rows, source, model)
    known = {} if cache is None or not Path(cache).is_file() else _read(Path(cache), key)
    computed: dict[str, Emissions] = {}
    try:
        yield from _in_order(model, rows, known, computed)
    finally:
        if cache is not None and computed:
            _write(Path(cache), key, known | computed, precision)


def _in_order(
    model: AcousticModel, rows: Sequence[Utterance], known: dict[str, Emissions], computed: dict[str, Emissions]
) -> Iterator[UtteranceEmissions]:
    """Yield known and new emissions in the order of `rows`; the new ones are put into `computed`."""
    missing = (utterance_recording(utterance) for utterance in rows if utterance.id not in known)
    outputs = (output for pool in model.pools(missing, log_probs=True) for output in pool)
    for utterance in rows:
        log_probs = known.get(utterance.id)
        if log_probs is None:
            output = next(outputs)
            if isinstance(output, Failure):
                print(f"{output.source}: {output.message}", file=sys.stderr)
                continue
            assert output.log_probs is not None
            log_probs = computed[utterance.id] = output.log_probs
        yield UtteranceEmissions(utterance.id, utterance.text or "", log_probs)


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
                raise ValueError("its lengths do not match")
            ids = [str(name) for name in stored["ids"]]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: is not a readable cache of log-probabilities ({cause(error)}); delete it") from error
    return {name: flat[edges[row] : edges[row + 1]] for row, name in enumerate(ids)}


def _write(path: Path, key: str, emissions: dict[str, Emissions], precision: Precision) -> None:
    flat = np.concatenate(list(emissions.values())).astype(precision)
    lengths = np.array([len(array) for array in emissions.values()])
    with writing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, key=np.array(key), ids=np.array(list(emissions)), lengths=lengths, log_probs=flat)
