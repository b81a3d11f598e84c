"""`wav2vec2 prepare`: write the manifest of a source. Every file is decoded once and checked; no audio is copied.

OUT/manifest.parquet      the utterances (manifest-003-of-064.parquet with --part 3/64; the folder stands for all parts)
OUT/rejected.jsonl        every rejected file: id, path, reason, message
OUT/notes.jsonl           accepted files with something odd about them, if any
OUT/.prepare/             the journal from which an interrupted run continues
"""

import json
import os
import zlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from wav2vec2.audio.pauses import Detector, Segmentation
from wav2vec2.audio.silero import load_silero
from wav2vec2.data.corpora.download import LIBRISPEECH_URL, download, librispeech_archives
from wav2vec2.data.corpora.fairseq import LabelKind, scan_fairseq
from wav2vec2.data.corpora.folder import SpeakerRule, scan_folder
from wav2vec2.data.corpora.librispeech import scan_librispeech
from wav2vec2.data.corpora.recognise import recognise
from wav2vec2.data.corpora.table import TableOptions, scan_table
from wav2vec2.data.part import parse_part
from wav2vec2.data.prepare.decode import Rules
from wav2vec2.data.prepare.journal import chunks, examine_all, gather, remove_other_journals
from wav2vec2.data.prepare.known import JOURNALS, Known
from wav2vec2.data.prepare.summary import Summary, rejection_lines
from wav2vec2.data.utterance import Rejection, Utterance, write_batches
from wav2vec2.device import available_cores
from wav2vec2.errors import UserError
from wav2vec2.output_file import writing
from wav2vec2.ray_cluster import Engine, RayOptions

_HEARD_SECONDS = 15.6  # of a crop of 250,000 samples (section 4.2)


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """Options that all sources share."""

    out: Path = Path("data")
    """Folder for the manifest, the list of rejected files, and the journal."""
    valid_percent: float = 1.0
    """Percentage of the speakers that go to split "valid"; the others go to "train". Official splits are kept."""
    min_seconds: float = 0.1
    """Reject shorter recordings."""
    max_seconds: float | None = None
    """Reject longer recordings, or cut them with --segment."""
    segment: bool = False
    """Cut long unlabelled recordings at pauses into segments of at most --max-seconds (by default 15.6: what BASE hears
    at once in pre-training, which crops the rest away).
    """
    vad: Detector = "energy"
    """Voice activity detector that finds the pauses: signal energy, or the Silero network (extra wav2vec2[silero])."""
    alphabet: str | None = None
    """Reject transcripts with characters other than these and spaces; by default, reject only unprintable ones."""
    check: Literal["decode", "header"] = "decode"
    """Decode each file whole, or trust its header and decode only two seconds: faster, but finds fewer problems."""
    language: str = ""
    """Language code to write into each row."""
    workers: int = 0
    """Number of decoding processes; 0: one per core."""
    reuse: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """The --out of an earlier run, or a folder that holds several: files that have not changed since are not decoded
    again. What --out itself holds is always used."""
    part: str = "1/1"
    """Prepare one share of the files: 3/64 is the third of 64. Each part is a separate run, on any machine."""
    engine: Engine = "local"
    """local: processes of this machine. ray: a Ray cluster whose machines all see the files and --out."""
    ray: OmitArgPrefixes[RayOptions] = field(default_factory=RayOptions)

    @abstractmethod
    def scan(self) -> Iterator[Utterance | Rejection]:
        """Yield the recordings of the source, not yet opened, always in the same order."""

    def fetch(self) -> None:
        """Download what the options ask for; does nothing for a source that cannot be downloaded."""
        return

    def remarks(self, summary: Summary) -> list[str]:
        """Return notes on anything odd in this source, to be printed below the summary."""
        if set(summary.splits) == {"train"} and self.valid_percent > 0:
            return ["note: split 'valid' is empty: raise --valid-percent if you want one"]
        return []


@dataclass(frozen=True, kw_only=True)
class PrepareLibriSpeech(PrepareOptions):
    """Manifest of LibriSpeech, or a tree like it: SPLIT/SPEAKER/CHAPTER/ID.flac (any format) beside *.trans.txt."""

    root: Annotated[Path, Positional, arg(metavar="FOLDER")] = Path("LibriSpeech")
    """The folder that holds train-clean-100, dev-clean, ..., or with --download will hold them."""
    download: str = ""
    """Parts to download first, unless already there: dev-clean,test-clean,train-clean-100, ... or all."""
    base_url: str = LIBRISPEECH_URL
    """Where to download from; a mirror near you is faster."""

    def fetch(self) -> None:
        """See `PrepareOptions.fetch`."""
        download(librispeech_archives(self.download, self.base_url), self.root)

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_librispeech(self.root, language=self.language)


@dataclass(frozen=True, kw_only=True)
class PrepareFolder(PrepareOptions):
    """Manifest of a folder of recordings without transcripts.

        wav2vec2 prepare folder recordings --segment --out data

    The recordings may have any format and lie at any depth; they stay where they are.
    """

    root: Annotated[Path, Positional, arg(metavar="FOLDER")]
    """The folder; it is searched at any depth."""
    speaker: SpeakerRule = "folder"
    """Where the speaker's name is: the first folder below the root that is not named wav48, train or the like (folder),
    the file's name up to the first "-" or "_" (prefix), or nowhere (none)."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_folder(self.root, speaker=self.speaker, language=self.language)

    def remarks(self, summary: Summary) -> list[str]:
        """Return also a note if the folder has transcripts that another command would read."""
        notes = super().remarks(summary)
        with suppress(UserError):
            if (layout := recognise(self.root)).command != "folder":
                notes.append(f"note: {layout.why}: 'wav2vec2 prepare {layout.command}' would read its transcripts")
        return notes


@dataclass(frozen=True, kw_only=True)
class PrepareTable(PrepareOptions):
    """Manifest of tables of paths and transcripts: CSV, TSV, semicolons, pipes, JSON, JSON lines; UTF-8 or UTF-16.

        wav2vec2 prepare table transcripts.csv --out data

    Columns are found by name: path (or file_name, wav_filename, audio_filepath, wav, ...), text (or sentence,
    transcript, transcription, normalized_text, tgt_text, raw_text, wrd, ...) and, if there, speaker (client_id,
    spk_id), split, language, id, start and end in seconds. Tables of NeMo, DeepSpeech, Coqui and SpeechBrain are read
    as they are.
    """

    tables: Annotated[tuple[Path, ...], Positional, arg(metavar="TABLE [TABLE ...]")]
    """The tables; of several, the file's name is the split of rows without one: train.csv, dev.csv."""
    text_column: str = ""
    """Column of the transcripts, if its name is unusual or there are several; none: read no transcripts."""
    path_column: str = ""
    """Column of the paths, if its name is unusual."""
    audio_root: Path | None = None
    """Folder to which relative paths refer; by default that of the table."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        if not self.tables:
            raise UserError("prepare table: names no table: give one or more, such as train.csv")
        folders = {table.absolute().parent for table in self.tables}
        above = os.path.commonpath(folders)
        for table in self.tables:
            inside = os.path.relpath(table.absolute().parent, above)
            split = table.name.split(".")[0] if len(self.tables) > 1 else ""
            options = TableOptions(self.text_column, self.path_column, split, self.audio_root)
            for row in scan_table(table, language=self.language, options=options):
                yield replace(row, id=f"{inside}/{row.id}") if len(folders) > 1 else row


@dataclass(frozen=True, kw_only=True)
class PrepareFairseq(PrepareOptions):
    """Manifest of fairseq .tsv files, with the .wrd, .ltr or .phn files beside them."""

    manifests: Annotated[tuple[Path, ...], Positional, arg(metavar="MANIFEST|FOLDER ...")]
    """The .tsv files, or a folder of them; the split is the file's name."""
    labels: LabelKind = "auto"
    """Which file has the transcripts: words (wrd), letters (ltr) or phones separated by spaces (phn); auto: the first
    of these that is there."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_fairseq(self.manifests, labels=self.labels, language=self.language)


def run(options: PrepareOptions) -> Path:
    """Prepare a source, print a summary, and return the path of the manifest (of this part).

    Raises:
        UserError: an option is wrong, the source cannot be read or has nothing usable, or the disk is full.
        KeyboardInterrupt: after Ctrl-C; the same command continues.
    """
    part, parts = parse_part(options.part)
    rules = _rules(options)
    options.fetch()
    total = sum(isinstance(item, Utterance) for item in _share(options.scan(), part, parts))
    rejected: list[Rejection] = []
    suffix = "" if parts == 1 else f"-{part:03d}-of-{parts:03d}"
    journal = options.out / JOURNALS / f"part{suffix or '-whole'}"
    known = Known(journal, options.reuse)
    recordings = _without_rejections(_share(options.scan(), part, parts), rejected)
    workers = options.workers or available_cores()
    cluster = options.ray if options.engine == "ray" else None
    journals = examine_all(chunks(recordings, total, rules, journal), total, workers, known, cluster)
    summary = Summary()
    notes: list[Rejection] = []
    path = options.out / f"manifest{suffix}.parquet"
    write_batches(gather(journals, rejected, notes, summary.add), path)
    refused = options.out / f"rejected{suffix}.jsonl"
    _write_lines(rejected, refused)
    if notes:
        _write_lines(notes, options.out / f"notes{suffix}.jsonl")
    if journals:
        remove_other_journals(journal, journals)
    remarks = [f"not decoded again: {known.used:,} of {total:,} files, unchanged since"] if known.used else []
    remarks += options.remarks(summary) if parts == 1 else []
    _print_summary(summary, rejected, notes, total, path, refused, remarks)
    if parts == 1 and not summary.splits:
        everything = total or len(rejected)
        why = f"{everything} files, all rejected, see {refused}" if everything else "no audio file was found"
        raise UserError(f"{path}: has no utterances ({why}): name another folder or correct the files")
    return path


def _rules(options: PrepareOptions) -> Rules:
    if not 0 <= options.valid_percent < 100:
        raise UserError(f"--valid-percent {options.valid_percent:g}: must be at least 0 and below 100")
    if not options.min_seconds >= 0:  # so that NaN is refused too
        raise UserError(f"--min-seconds {options.min_seconds:g}: must be at least 0")
    if options.max_seconds is not None and not options.max_seconds > options.min_seconds:
        raise UserError(f"--max-seconds {options.max_seconds:g}: must be above --min-seconds {options.min_seconds:g}")
    if options.workers < 0:
        raise UserError(f"--workers {options.workers}: must be 0 (one per core) or more")
    if options.engine == "ray" and options.workers:
        raise UserError("--workers: is for this machine; with --engine ray, give --ray-models")
    segmentation = None
    if options.segment:
        longest = options.max_seconds or _HEARD_SECONDS
        if longest < 1.0:
            raise UserError(f"--max-seconds {longest:g}: must be at least 1 with --segment")
        segmentation = Segmentation(longest=longest)
        if options.vad == "silero":
            load_silero()
    return Rules(
        valid_percent=options.valid_percent,
        min_seconds=options.min_seconds,
        max_seconds=options.max_seconds,
        segmentation=segmentation,
        detector=options.vad,
        alphabet=options.alphabet,
        check=options.check,
    )


def _share(items: Iterable[Utterance | Rejection], part: int, parts: int) -> Iterator[Utterance | Rejection]:
    """Select the items of this part by a hash of the id, so that files with equal ids fall into the same part."""
    return (item for item in items if zlib.crc32(item.id.encode(errors="surrogatepass")) % parts == part - 1)


def _without_rejections(items: Iterable[Utterance | Rejection], rejected: list[Rejection]) -> Iterator[Utterance]:
    for item in items:
        if isinstance(item, Rejection):
            rejected.append(item)
        else:
            yield item


def _write_lines(items: list[Rejection], path: Path) -> None:
    with writing(path) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in items)


def _print_summary(
    summary: Summary,
    rejected: list[Rejection],
    notes: list[Rejection],
    total: int,
    path: Path,
    refused: Path,
    remarks: list[str],
) -> None:
    lines = [*summary.lines(), *rejection_lines(rejected, total, str(refused))]
    for reason, number in Counter(note.reason for note in notes).items():
        first = next(note.message for note in notes if note.reason == reason)
        lines.append(f"note: {number:,} files: {reason}; such as {first}")
    print("\n".join([*lines, *remarks, f"manifest: {path}"]))
