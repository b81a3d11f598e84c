"""Transcripts that a model writes for speech that nobody has transcribed, filtered: ``wav2vec2 pseudo-label``.

The model's own labels are wrong in places; a model that is fine-tuned on them as well is better nevertheless ("Self-
training and Pre-training are Complementary", arXiv 2010.11430). What helps is leaving out the worst ("Self-Training for
End-to-End Speech Recognition", arXiv 1909.09116): utterances whose labels have a low probability, whose length does not
fit the text, or where two ways of decoding disagree.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pyarrow as pa
from tyro.conf import OmitArgPrefixes, Positional, arg

from wav2vec2.audio.recordings import Failure
from wav2vec2.bulk.job import Row
from wav2vec2.bulk.options import BulkOptions
from wav2vec2.bulk.results import read_results
from wav2vec2.bulk.run import run_over_manifest
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.decode.search import GREEDY
from wav2vec2.errors import UserError
from wav2vec2.evaluation.pseudo_filter import Filters, write_labels
from wav2vec2.inference.acoustic_model import vocabulary_and_architecture
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.inference.manifest_rows import utterance_recording
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.inference.transcripts import COLUMNS, TranscribeJob, TranscriptWriter, transcript_row
from wav2vec2.text.error_rate import character_errors


@dataclass(frozen=True)
class PseudoLabelOptions:
    """Transcribe a manifest with a model, and write a manifest of the utterances that it is sure of, for fine-tuning.

    Transcripts are kept in a folder of Parquet files: the same command goes on after an interruption, and with other
    limits (--min-confidence, ...) it filters anew without the model. Where MANIFEST has transcripts, they are not used
    as labels; they show how wrong the kept labels are.
    """

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A model directory, checkpoint file or hub id with a CTC head, or an exported .onnx or .pt2 file."""
    manifest: Annotated[str, Positional, arg(metavar="MANIFEST")]
    """A manifest (file, folder or pattern)."""
    language: str | None = None
    """Language of a multilingual model such as facebook/mms-1b-all, by its code of three letters, such as swh."""
    out: Path = Path("pseudo.parquet")
    """The manifest to write: the kept rows with the model's text, and the columns confidence and agreement. Those left
    out, and why, are listed beside it, in OUT-left-out.jsonl."""
    transcripts: Path | None = None
    """Folder for the transcripts of all rows; OUT-transcripts beside --out if not given."""
    known: str | None = None
    """A manifest with transcripts of some of the utterances, by id, that show how wrong the labels are; MANIFEST itself
    if not given."""
    check: str | None = None
    """A manifest of transcribed utterances that the model labels as well, only to show how wrong the kept labels are;
    they are not written. They should be held back from the model's training."""
    add: str | None = None
    """A manifest of transcribed utterances to write before the kept rows, so that --out holds all labels to train on.
    Then it is no error if no row is kept."""
    filters: OmitArgPrefixes[Filters] = field(default_factory=Filters)
    decoding: OmitArgPrefixes[DecodingOptions] = field(default_factory=DecodingOptions)
    compute: OmitArgPrefixes[ComputeOptions] = field(default_factory=ComputeOptions)
    bulk: OmitArgPrefixes[BulkOptions] = field(default_factory=BulkOptions)


@dataclass(frozen=True)
class PseudoLabelJob(TranscribeJob):
    """Transcribe the rows of a manifest, and decode them greedily as well."""

    command: str = "pseudo-label"

    def open(self) -> "_Labeller":
        """See `Job.open`."""
        return _Labeller(Transcriber(self.model, compute=self.compute, decoding=self.decoding, language=self.language))


class _Labeller(TranscriptWriter):
    """See `Worker`."""

    columns = [  # noqa: RUF012
        *COLUMNS,
        pa.field("greedy", pa.string()),
        pa.field("labels", pa.int32()),
        pa.field("label_confidence", pa.float64()),
        pa.field("agreement", pa.float64()),
    ]
    """After the columns of a transcript: the text of greedy decoding; the number of labels of the chosen text; the
    geometric mean, over the labels of greedy decoding, of the probability of the best path; the share of the text's
    characters that both decodings have.
    """

    def rows(self, utterances: Iterable[Utterance]) -> Iterator[Row | Failure]:
        """See `Worker.rows`."""
        searches = [GREEDY, self._transcriber.search]
        for result in self._transcriber.stream_searches(map(utterance_recording, utterances), searches):
            if isinstance(result, Failure):
                yield result
                continue
            greedy, chosen = result
            encode = self._transcriber.vocabulary.encode
            heard = len(encode(greedy.text))
            yield {
                **transcript_row(chosen),
                "greedy": greedy.text,
                "labels": len(encode(chosen.text)),
                "label_confidence": math.exp(min(0.0, greedy.score / heard)) if heard else 0.0,
                "agreement": agreement(greedy.text, chosen.text),
            }


def agreement(one: str, other: str) -> float:
    """The share of the characters of the longer of two texts that an alignment finds in both: 1 if they are equal."""
    longest = max(len(one.replace(" ", "")), len(other.replace(" ", "")))
    return max(0.0, 1.0 - character_errors(one, other).errors / longest) if longest else 1.0


def run(options: PseudoLabelOptions) -> None:
    """Transcribe what is not transcribed yet, then filter, write the manifest and print what was kept.

    Raises UserError as `run_over_manifest` does, and if nothing is kept.
    """
    if options.out.suffix != ".parquet":
        raise UserError(f"--out {options.out}: name the manifest to write, with the ending .parquet")
    if options.out.resolve() in {Path(part).resolve() for part in options.manifest.split("+")}:
        raise UserError(f"--out {options.out}: is the manifest that is read; choose another name")
    folder = options.transcripts or options.out.with_name(f"{options.out.stem}-transcripts")
    job = PseudoLabelJob(options.model, options.compute, _helpful(options.decoding), language=options.language)
    checked = set() if options.check is None else set(Manifest.open(options.check).ids)
    rows = options.manifest if options.check is None else f"{options.manifest}+{options.check}"
    work = run_over_manifest(job, rows, folder, options.bulk, tolerant=True)
    there = set(work.folder.names())
    if missing := sum(task.shard not in there for task in work.tasks):
        print(f"{missing} tasks of other parts are missing; the part that ends last writes {options.out}")
        return
    left_out = options.out.with_name(f"{options.out.stem}-left-out.jsonl")
    known = _known_texts(options, work.manifest)
    added = [] if options.add is None else [row for row in Manifest.open(options.add) if row.text is not None]
    report = write_labels(
        work.manifest,
        read_results(folder),
        options.filters,
        options.out,
        left_out,
        known=known or (lambda _: None),
        normalize=str if known is None else vocabulary_and_architecture(options.model, options.language)[0].normalize,
        only_checked=checked,
        added=added,
    )
    print("\n".join(report.lines()))
    if not report.kept and options.add is None:
        raise UserError(f"{options.manifest}: no label was kept; lower the limits, see {left_out}")
    if added:
        print(f"besides, {len(added)} transcribed utterances of {options.add}")
    print(f"manifest: {options.out}; left out: {left_out}")


def _helpful(decoding: DecodingOptions) -> DecodingOptions:
    """The search, or greedy decoding if the preset says that it had fewer errors where the search was tuned."""
    if decoding.preset is None or decoding.decoder != "auto" or decoding.resolve().tuned.helps:
        return decoding
    print(f"{decoding.preset}: greedy decoding had fewer errors where it was tuned, so labels are written without it")
    return DecodingOptions(decoder="greedy", workers=decoding.workers)


def _known_texts(options: PseudoLabelOptions, manifest: Manifest) -> Callable[[Utterance], str | None] | None:
    """Where the true transcripts are, if there are any."""
    if options.known is None or options.known == options.check:
        texts = manifest.column("text")
        return None if texts.null_count == len(texts) else lambda utterance: utterance.text
    true = Manifest.open(options.known)
    pairs = zip(true.ids, true.column("text").to_pylist(), strict=True)
    known = {identity: text for identity, text in pairs if text is not None}
    if not known:
        raise UserError(f"--known {options.known}: has no transcripts: name a manifest of transcribed speech")
    return lambda utterance: known.get(utterance.id)
