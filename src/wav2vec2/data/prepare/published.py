"""`wav2vec2 prepare` for published corpora with their own layouts: Libri-light, TIMIT, Common Voice, MLS and FLEURS.

Public corpora can be downloaded; TIMIT and Common Voice are read from the user's own copy. Official splits are kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from wav2vec2.data.corpora.common_voice import scan_common_voice
from wav2vec2.data.corpora.download import (
    FLEURS_URL,
    LIBRILIGHT_URL,
    MLS_URL,
    download,
    fleurs_archives,
    librilight_archives,
    limited_archives,
    mls_archives,
)
from wav2vec2.data.corpora.librilight import LimitedSize, scan_librilight, scan_limited
from wav2vec2.data.corpora.multilingual import MlsTraining, Transcription, scan_fleurs, scan_mls
from wav2vec2.data.corpora.timit import UTTERANCES, TimitLabels, scan_timit
from wav2vec2.data.prepare.command import PrepareOptions
from wav2vec2.data.prepare.command import run as run
from wav2vec2.data.prepare.summary import Summary
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError


@dataclass(frozen=True, kw_only=True)
class PrepareLibriLight(PrepareOptions):
    """Manifest of Libri-light: SUBSET/SPEAKER/BOOK/*.flac, cut into pieces by the voice activity in its .json files.

    With --segment --max-seconds N, stretches of speech longer than N are cut at the pauses that prepare finds itself.
    """

    root: Annotated[Path, Positional, arg(metavar="FOLDER")] = Path("librilight")
    """The folder that holds small, medium and large, or one of these; with --download, the folder to hold them."""
    subsets: str = ""
    """Subsets to read: small,medium,large; empty: all that are there."""
    target_seconds: float = 30.0
    """Stretches of speech are joined up to this length; a longer stretch stays whole."""
    download: str = ""
    """Subsets to download first: small (35 GB), medium (321 GB), large (3.05 TB); unpacking needs twice that space."""
    base_url: str = LIBRILIGHT_URL
    """Where to download from."""
    language: str = "en"
    """Language code to write into each row."""

    def fetch(self) -> None:
        """See `PrepareOptions.fetch`."""
        if not self.target_seconds > 0:
            raise UserError(f"--target-seconds {self.target_seconds:g}: must be above 0")
        download(librilight_archives(self.download, self.base_url), self.root)

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        subsets = _names(self.subsets)
        return scan_librilight(self.root, target_seconds=self.target_seconds, subsets=subsets, language=self.language)


@dataclass(frozen=True, kw_only=True)
class _OfficialSplits(PrepareOptions):
    """A corpus with official splits."""

    def remarks(self, summary: Summary) -> list[str]:
        """See `PrepareOptions.remarks`: nothing is split by speaker, so an empty split is not odd."""
        return []


@dataclass(frozen=True, kw_only=True)
class PrepareLimited(_OfficialSplits):
    """Manifest of a limited-supervision set of Libri-light: ten minutes, one hour or ten hours of labels."""

    root: Annotated[Path, Positional, arg(metavar="FOLDER")] = Path("librispeech_finetuning")
    """The folder librispeech_finetuning, or the one above it; with --download, the one above."""
    size: LimitedSize = "1h"
    """10min is one of the six folds of 1h (see --fold); 10h is 1h and the folder 9h together."""
    fold: int = 0
    """For 10min: which fold of 1h, 0 to 5. The paper fine-tunes on one ten-minute set and does not say which; fold 0 is
    customary. Six runs, one per fold, show how much the choice matters."""
    download: bool = False
    """Download the archive (0.6 GB) first, unless it is there."""
    base_url: str = LIBRILIGHT_URL
    """Where to download from."""
    language: str = "en"
    """Language code to write into each row."""

    def fetch(self) -> None:
        """See `PrepareOptions.fetch`."""
        if self.download:
            download(limited_archives(self.base_url), self.root)

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_limited(self.root, size=self.size, fold=self.fold, language=self.language)


@dataclass(frozen=True, kw_only=True)
class PrepareTimit(_OfficialSplits):
    """Manifest of your own copy of TIMIT (LDC93S1), with phones as transcripts: train, dev (50 speakers), test (core).

    Fine-tune with text.symbols = "whitespace" (recipes/finetune_timit.toml); `evaluate` folds to 39 phones.
    """

    root: Annotated[Path, Positional, arg(metavar="FOLDER")]
    """The folder that holds TRAIN and TEST, or one above it."""
    labels: TimitLabels = "39"
    """Transcripts: 39, 48 or all 61 phones (Lee and Hon), separated by spaces, or the words."""
    complete_test: bool = False
    """Also read the 94 speakers of TEST that are in neither dev nor the core test set, as split test-rest."""
    language: str = "en"
    """Language code to write into each row."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_timit(self.root, labels=self.labels, complete_test=self.complete_test, language=self.language)

    def remarks(self, summary: Summary) -> list[str]:
        """Return a note if the copy is incomplete."""
        counts = {name: summary.splits[name].utterances if name in summary.splits else 0 for name in UTTERANCES}
        short = [
            f"{name} has {counts[name]:,} of {number:,}"
            for name, number in UTTERANCES.items()
            if counts[name] != number
        ]
        return [f"note: this copy of TIMIT is incomplete: {', '.join(short)} utterances"] if short else []


@dataclass(frozen=True, kw_only=True)
class PrepareCommonVoice(_OfficialSplits):
    """Manifest of your copy of Common Voice: LOCALE/*.tsv beside LOCALE/clips, as its site gives it.

    The layout of the Hugging Face hub (transcript/LOCALE/*.tsv, audio/LOCALE/*/*.tar) and Spontaneous Speech
    (ss-corpus-LOCALE.tsv beside audios) are read too. Clips that were converted to another format are found.
    """

    root: Annotated[Path, Positional, arg(metavar="FOLDER")]
    """A language's folder, or one that holds several."""
    tables: str = "train,dev,test"
    """Tables to read, each of which becomes a split; of Spontaneous Speech, splits. Other tables than these are read
    without dev's and test's speakers."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_common_voice(self.root, tables=_names(self.tables), language=self.language)


@dataclass(frozen=True, kw_only=True)
class PrepareMls(_OfficialSplits):
    """Manifest of Multilingual LibriSpeech: mls_LANGUAGE/{train,dev,test} with transcripts.txt and audio."""

    root: Annotated[Path, Positional, arg(metavar="FOLDER")] = Path("mls")
    """A language's folder, or the one above; with --download, the one above."""
    training: MlsTraining = "all"
    """All of train, or one of its official limited sets of ten minutes, one hour or ten hours."""
    fold: int = 0
    """For 10min: which fold of 1h, 0 to 5."""
    download: str = ""
    """Languages to download: polish (6 GB), portuguese, italian, spanish, french, dutch, german, english (2 TB)."""
    audio: Literal["flac", "opus"] = "flac"
    """What to download: the original archives, or those with Opus audio, a quarter of the size."""
    base_url: str = MLS_URL
    """Where to download the archives and their md5sum.txt from."""

    def fetch(self) -> None:
        """See `PrepareOptions.fetch`."""
        download(mls_archives(self.download, opus=self.audio == "opus", base_url=self.base_url), self.root)

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_mls(self.root, training=self.training, fold=self.fold, language=self.language)


@dataclass(frozen=True, kw_only=True)
class PrepareFleurs(_OfficialSplits):
    """Manifest of FLEURS, or of a corpus like it: LANGUAGE/{train,dev,test}.tsv without a header, and audio."""

    root: Annotated[Path, Positional, arg(metavar="FOLDER")] = Path("fleurs")
    """A language's folder, or the one above; with --download, the one above."""
    transcription: Transcription = "normalised"
    """The normalised transcription (lower case, no punctuation), or the raw one."""
    download: str = ""
    """Languages to download first, by their codes: pl_pl,en_us, ..."""
    base_url: str = FLEURS_URL
    """Where to download from; the server gives the checksums."""

    def fetch(self) -> None:
        """See `PrepareOptions.fetch`."""
        download(fleurs_archives(self.download, self.base_url), self.root)

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_fleurs(self.root, transcription=self.transcription, language=self.language)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
