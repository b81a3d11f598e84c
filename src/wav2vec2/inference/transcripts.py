"""Transcripts of a manifest: what `wav2vec2 transcribe MANIFEST.parquet` computes for each row."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from wav2vec2.audio.recordings import Failure
from wav2vec2.bulk.job import Row, plain_options
from wav2vec2.bulk.results import read_results
from wav2vec2.checkpoints.load import language_model_folder
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance
from wav2vec2.decode.beside_model import with_preset_beside
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.decode.presets import fingerprint
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import is_exported
from wav2vec2.inference.manifest_rows import transcribed_utterances, utterance_recording
from wav2vec2.inference.model_job import ModelJob
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.output.transcript import Transcript, Word

_WORD = pa.struct([("text", pa.string()), ("start", pa.float64()), ("end", pa.float64()), ("confidence", pa.float64())])
_ALTERNATIVE = pa.struct(
    [("text", pa.string()), ("score", pa.float64()), ("acoustic_score", pa.float64()), ("lm_score", pa.float64())]
)
COLUMNS = [
    pa.field("text", pa.string()),
    pa.field("confidence", pa.float64()),
    pa.field("seconds", pa.float64()),
    pa.field("score", pa.float64()),
    pa.field("words", pa.list_(_WORD)),
    pa.field("nbest", pa.list_(_ALTERNATIVE)),
]
"""The columns of results, between `id` and `error`. Scores are natural logarithms, times seconds."""


@dataclass(frozen=True)
class TranscribeJob(ModelJob):
    """Transcribe the rows of a manifest."""

    decoding: DecodingOptions = field(default_factory=DecodingOptions)
    command: str = "transcribe"

    def identity(self) -> Mapping[str, Any]:
        """See `Job.identity`."""
        beside = None if is_exported(self.model) else language_model_folder(self.model)
        return {
            **super().identity(),
            "language_model": None if beside is None else fingerprint(beside),
            "decoding": decoding_identity(with_preset_beside(self.decoding, self.model, notice=lambda line: None)),
        }

    def open(self) -> "TranscriptWriter":
        """See `Job.open`."""
        transcriber = Transcriber(self.model, compute=self.compute, decoding=self.decoding, language=self.language)
        return TranscriptWriter(transcriber)


class TranscriptWriter:
    """See `Worker`."""

    columns: list[pa.Field] = COLUMNS
    facts: Mapping[str, Any] = {}

    def __init__(self, transcriber: Transcriber) -> None:
        self._transcriber = transcriber

    def rows(self, utterances: Iterable[Utterance]) -> Iterator[Row | Failure]:
        """See `Worker.rows`."""
        for result in self._transcriber.stream(map(utterance_recording, utterances)):
            yield result if isinstance(result, Failure) else transcript_row(result)

    def close(self) -> None:
        """See `Worker.close`."""
        self._transcriber.close()


def transcript_row(transcript: Transcript) -> Row:
    """The values of a transcript by column."""
    plain = transcript.as_json()
    known = [word.confidence for word in transcript.words if word.confidence is not None]
    return {
        **{name: plain[name] for name in ("text", "seconds", "score", "words")},
        "confidence": sum(known) / len(known) if known and len(known) == len(transcript.words) else None,
        "nbest": plain.get("nbest"),
    }


def decoding_identity(options: DecodingOptions) -> dict[str, Any]:
    """All that decoding depends on, with the content of the files that it reads, as plain values."""
    preset = options.resolve()
    named = {name: getattr(preset, name) for name in ("lm", "lexicon", "rescore")}
    prints = {name: fingerprint(path) for name, path in named.items() if path is not None}
    plain = plain_options(preset, without=(*named, "lm_print", "tuned"))
    hotwords = {str(word): weight for word, weight in options.hotwords.items()}
    return {**plain, **prints, "hotwords": hotwords}


def stored_transcripts(
    folder: str | Path, manifest: Manifest
) -> Iterator[tuple[Utterance, list[Transcript] | Failure]]:
    """Yield the transcribed utterances of `manifest` with what `transcribe MODEL MANIFEST --out folder` wrote for them.

    They have no n-best list. Raises UserError if results are missing.
    """
    rows = list(transcribed_utterances(manifest))
    wanted = pa.array([row.id for row in rows], pa.string())
    columns = ["id", "text", "words", "seconds", "score", "error"]
    stored: dict[str, dict[str, Any]] = {}
    for batch in read_results(folder).batches(columns):
        for row in batch.filter(pc.is_in(batch.column("id"), value_set=wanted)).to_pylist():
            stored[row["id"]] = row
    if missing := [row.id for row in rows if row.id not in stored]:
        of = f"{len(missing)} of the {len(rows)} transcribed utterances of {manifest.name}, such as {missing[0]}"
        raise UserError(f"{folder}: has no results of {of}: give the folder that was written for this manifest")
    for row in rows:
        found = stored[row.id]
        if found["error"] is not None:
            yield row, Failure(row.id, found["error"])
        else:
            words = tuple(Word(**word) for word in found["words"])
            yield row, [Transcript(row.id, found["text"], words, found["seconds"], found["score"])]
