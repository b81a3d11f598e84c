"""`wav2vec2 prepare` for the layouts of other tools and of more corpora, and `prepare auto`, which finds it out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from wav2vec2.data.corpora.folder import SpeakerRule
from wav2vec2.data.corpora.huggingface import parquet_files, scan_audio_folder, scan_unpacked, unpack_parquet
from wav2vec2.data.corpora.multilingual import Transcription, scan_voxpopuli
from wav2vec2.data.corpora.openslr import scan_aishell, scan_stm
from wav2vec2.data.corpora.pairs import TextKind, scan_pairs
from wav2vec2.data.corpora.recognise import Layout, recognise
from wav2vec2.data.corpora.toolkits import scan_kaldi, scan_lhotse
from wav2vec2.data.corpora.tts import Microphone, Spelling, scan_libritts, scan_pipes, scan_vctk
from wav2vec2.data.prepare import command, published
from wav2vec2.data.prepare.command import PrepareOptions
from wav2vec2.data.prepare.command import run as run
from wav2vec2.data.utterance import Rejection, Utterance


@dataclass(frozen=True, kw_only=True)
class PreparePairs(PrepareOptions):
    """Manifest of recordings with a text each: a.wav and a.txt (or .lab), or subtitles a.srt, a.vtt.

    The text lies beside the recording or in a folder beside its own (wavs/a.wav and txt/a.txt). A .txt or .lab is the
    transcript of the whole recording; each cue of subtitles becomes a piece.
    """

    root: Annotated[Path, Positional, arg(metavar="FOLDER")]
    """The folder; it is searched at any depth."""
    text: TextKind = "auto"
    """Which files are the transcripts; auto: subtitles if there are any, else .txt, else .lab."""
    speaker: SpeakerRule = "folder"
    """Where the speaker's name is: the first folder below the root (folder; not one named wavs, train or the like),
    the file's name up to the first "-" or "_" (prefix), or nowhere (none)."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_pairs(self.root, text=self.text, speaker=self.speaker, language=self.language)


@dataclass(frozen=True, kw_only=True)
class PrepareHuggingFace(PrepareOptions):
    """Manifest of a dataset of the Hugging Face hub: Parquet files with audio, or an audio folder with metadata.csv.

    The audio in Parquet files is copied once, as it is, to archives below --out. The split is that of the file's name
    (train-00000-of-00005.parquet) or folder; validation becomes valid.
    """

    root: Annotated[Path, Positional, arg(metavar="FOLDER")]
    """The folder of the dataset, or one Parquet file."""
    text_column: str = ""
    """Column of the transcripts, if its name is unusual or there are several; none: read no transcripts."""
    audio_column: str = ""
    """Column of the audio, or of file names, if its name is unusual or there are several."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        text, audio, language = self.text_column, self.audio_column, self.language
        if not parquet_files(self.root):
            return scan_audio_folder(self.root, text=text, path=audio, language=language)
        listings = unpack_parquet(self.root, self.out / "audio", text=text, audio=audio, language=language)
        return scan_unpacked(listings, self.root.stem)


@dataclass(frozen=True, kw_only=True)
class PrepareLjSpeech(PrepareOptions):
    """Manifest of LJSpeech, M-AILABS, CSS10 or a corpus in their format: metadata.csv or transcript.txt with pipes."""

    root: Annotated[Path, Positional, arg(metavar="FOLDER")]
    """The folder, or one such table. Every metadata.csv and transcript.txt below is read."""
    transcription: Spelling = "normalised"
    """The normalised transcription, with numbers spelled out, or the one as written (raw)."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_pipes(self.root, text=self.transcription, language=self.language)


@dataclass(frozen=True, kw_only=True)
class PrepareLibriTts(PrepareOptions):
    """Manifest of LibriTTS or LibriTTS-R: SPLIT/SPEAKER/CHAPTER/ID.wav beside ID.normalized.txt, ID.original.txt."""

    root: Annotated[Path, Positional, arg(metavar="FOLDER")]
    """The folder that holds train-clean-100, dev-clean, ..."""
    transcription: Spelling = "normalised"
    """The normalised transcription, with numbers spelled out, or the one as written (raw)."""
    language: str = "en"
    """Language code to write into each row."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_libritts(self.root, text=self.transcription, language=self.language)


@dataclass(frozen=True, kw_only=True)
class PrepareVctk(PrepareOptions):
    """Manifest of VCTK: wav48_silence_trimmed (or wav48) and txt, with a folder for each speaker in them."""

    root: Annotated[Path, Positional, arg(metavar="FOLDER")]
    """The folder VCTK-Corpus-0.92, or that of an older release."""
    microphone: Microphone = "mic1"
    """Of release 0.92: which of the two simultaneous recordings, or both."""
    language: str = "en"
    """Language code to write into each row."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_vctk(self.root, microphone=self.microphone, language=self.language)


@dataclass(frozen=True, kw_only=True)
class PrepareVoxPopuli(PrepareOptions):
    """Manifest of VoxPopuli's transcribed speech: transcribed_data/LANGUAGE/asr_train.tsv, as its scripts write it."""

    root: Annotated[Path, Positional, arg(metavar="FOLDER")]
    """A language's folder, or transcribed_data, or the folder above."""
    transcription: Transcription = "normalised"
    """The normalised transcription (lower case, no punctuation), or the raw one."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_voxpopuli(self.root, transcription=self.transcription, language=self.language)


@dataclass(frozen=True, kw_only=True)
class PrepareAishell(PrepareOptions):
    """Manifest of AISHELL-1: data_aishell/wav/{train,dev,test} and data_aishell/transcript."""

    root: Annotated[Path, Positional, arg(metavar="FOLDER")]
    """The folder data_aishell, or the one above it."""
    spaces: bool = False
    """Keep the spaces between words that the transcript has."""
    language: str = "zh"
    """Language code to write into each row."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_aishell(self.root, spaces=self.spaces, language=self.language)


@dataclass(frozen=True, kw_only=True)
class PrepareStm(PrepareOptions):
    """Manifest of TED-LIUM, or of other recordings with .stm files: stm/TALK.stm and sph/TALK.sph (any format)."""

    root: Annotated[Path, Positional, arg(metavar="FOLDER")]
    """The folder that holds train, dev and test (or legacy), or any folder of .stm files."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_stm(self.root, language=self.language)


@dataclass(frozen=True, kw_only=True)
class PrepareKaldi(PrepareOptions):
    """Manifest of Kaldi's data directories: wav.scp, and segments, text, utt2spk, utt2lang if they are there.

    Commands in wav.scp are never run. Where one only unpacks a file (flac -c -d -s FILE |), that file is read.
    """

    folders: Annotated[tuple[Path, ...], Positional, arg(metavar="FOLDER [FOLDER ...]")]
    """The directories, such as data/train data/dev, or a folder above; the directory's name is the split."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_kaldi(self.folders, language=self.language)


@dataclass(frozen=True, kw_only=True)
class PrepareLhotse(PrepareOptions):
    """Manifest of lhotse's cuts, or of its recordings and supervisions: *.jsonl.gz, *.jsonl or *.json."""

    manifests: Annotated[tuple[Path, ...], Positional, arg(metavar="MANIFEST|FOLDER ...")]
    """The manifests, or a folder of them; the split is the end of the name: librispeech_cuts_dev-clean.jsonl.gz."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return scan_lhotse(self.manifests, language=self.language)


@dataclass(frozen=True, kw_only=True)
class PrepareAuto(PrepareOptions):
    """Find out which layout a folder has, say so, and prepare it as the command for that layout does.

    Known are LibriSpeech, Libri-light and its limited sets, TIMIT, Common Voice, MLS, FLEURS, VoxPopuli, AISHELL-1,
    TED-LIUM, LibriTTS, VCTK, LJSpeech, M-AILABS, CSS10, Hugging Face's audio folders and Parquet files, Kaldi, lhotse,
    fairseq, tables, recordings with a text each, and recordings alone.
    """

    root: Annotated[Path, Positional, arg(metavar="FOLDER")]
    """The folder, or a table."""

    def scan(self) -> Iterator[Utterance | Rejection]:
        """See `PrepareOptions.scan`."""
        return self.recognised()[1].scan()

    def recognised(self) -> tuple[Layout, PrepareOptions]:
        """Return the layout, and the options of its own command, which has the shared options given here.

        Raises:
            UserError: no layout fits, or several do.
        """
        layout = recognise(self.root)
        kind, source = _COMMANDS[layout.command]
        value = layout.sources if source in ("tables", "manifests", "folders") else layout.sources[0]
        shared = {one.name: getattr(self, one.name) for one in fields(PrepareOptions)}
        given = {name: shared[name] for name in shared if shared[name] != getattr(_DEFAULTS, name)}
        return layout, kind(**{source: value}, **given)


_DEFAULTS = PrepareAuto(root=Path())
_COMMANDS: dict[str, tuple[Callable[..., PrepareOptions], str]] = {
    "folder": (command.PrepareFolder, "root"),
    "table": (command.PrepareTable, "tables"),
    "pairs": (PreparePairs, "root"),
    "fairseq": (command.PrepareFairseq, "manifests"),
    "huggingface": (PrepareHuggingFace, "root"),
    "kaldi": (PrepareKaldi, "folders"),
    "lhotse": (PrepareLhotse, "manifests"),
    "librispeech": (command.PrepareLibriSpeech, "root"),
    "librilight": (published.PrepareLibriLight, "root"),
    "limited": (published.PrepareLimited, "root"),
    "timit": (published.PrepareTimit, "root"),
    "commonvoice": (published.PrepareCommonVoice, "root"),
    "mls": (published.PrepareMls, "root"),
    "fleurs": (published.PrepareFleurs, "root"),
    "voxpopuli": (PrepareVoxPopuli, "root"),
    "aishell": (PrepareAishell, "root"),
    "stm": (PrepareStm, "root"),
    "libritts": (PrepareLibriTts, "root"),
    "vctk": (PrepareVctk, "root"),
    "ljspeech": (PrepareLjSpeech, "root"),
}


def run_auto(options: PrepareAuto) -> Path:
    """Recognise a folder's layout, print it, and prepare it; returns the path of the manifest.

    Raises:
        UserError: no layout fits, several do, or as `run`.
    """
    layout, chosen = options.recognised()
    named = " ".join(map(str, layout.sources))
    print(f"recognised: {layout.why}: read as by 'wav2vec2 prepare {layout.command} {named}'")
    return run(chosen)
