"""Options of ``wav2vec2 adapt``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from wav2vec2.adapt.choice import PretrainWhen, Wishes
from wav2vec2.adapt.plateau import Way
from wav2vec2.errors import UserError
from wav2vec2.pipeline.changes import Repeated, changes_of
from wav2vec2.pipeline.machine import Machine

SCRATCH = "scratch"


@dataclass(frozen=True, kw_only=True)
class AdaptOptions:
    """Make a recogniser for your language from recordings, transcripts of some of them, and a published encoder.

        wav2vec2 adapt recordings --transcripts table.csv --from facebook/wav2vec2-xls-r-300m --out mine
        wav2vec2 transcribe talk.mp3 --model mine

    The first line does everything; the second writes down what is said. Each stage is a command that is printed, and
    can be run by hand. After an interruption the same line goes on; --dry-run shows the stages.
    """

    recordings: Annotated[str, Positional, arg(metavar="RECORDINGS")]
    """A folder of audio files in any format, a release of Common Voice or another corpus, or a manifest."""
    source: Annotated[str, arg(name="from", metavar="MODEL")] = ""
    """The encoder to start from: an id on the Hugging Face hub such as facebook/wav2vec2-xls-r-300m, a model directory,
    the folder of a run, a file; or scratch: a small one from nothing, which needs hours of recordings."""
    transcripts: Annotated[Path | None, arg(metavar="TABLE")] = None
    """Table with a column of paths (relative to it, or to RECORDINGS) and one of texts: CSV, TSV, JSON; or a list of
    ids of recordings whose transcripts a corpus brings. Recordings that are not in it count as untranscribed. May be
    left out where all transcripts that a corpus brings may be used."""
    out: Path = Path("adapted")
    """Folder for the result: model, language model, lexicon, preset, report, README.md; the stages are in work."""
    text: tuple[Path, ...] = ()
    """Text files in your language, one sentence a line, for the language model. Default: the transcripts of train."""
    language: str = ""
    """Code of the language, such as fr or swh, for the model card and for numbers; by default as the recordings say."""
    way: Way = "auto"
    """What is fine-tuned. everything: all of the encoder. context: all but its convolutions, as in the paper. adapters:
    small new layers, as in MMS. lora: small matrices beside the large ones. auto: context for published encoders, all
    of small ones; with --memory what fits."""
    memory: str = ""
    """Memory that training may use, such as 8GB; empty: as much as it needs."""
    pretrain: PretrainWhen = "auto"
    """Whether pre-training is continued on the untranscribed recordings. auto: where there is an hour of them, and kept
    only if the held-out speakers are recognised better with it."""
    self_training: int = 0
    """Rounds of self-training: the recogniser transcribes the untranscribed recordings, and what it is sure of is
    trained on as well. Kept only if the held-out speakers are recognised better."""
    hours: float = 12.0
    """Most time for all training, as estimated for this machine; numbers of updates are cut to fit. 0: no limit."""
    updates: int = 0
    """Updates of each fine-tuning; 0: by the hours of labels."""
    pretrain_updates: int = 0
    """Updates of pre-training; 0: by the hours of recordings."""
    trials: int = 32
    """Settings of the language model to try on the held-out speakers."""
    held_out_percent: float = 10.0
    """Share of the transcribed speech for testing, and as much for choosing, where a corpus has no splits of its own;
    whole speakers, if they are known."""
    dry_run: bool = False
    """Print every stage with its command and state, and run nothing."""
    set: Repeated = ()
    """STAGE:KEY=VALUE: change a key of the recipe of every training stage whose name matches, such as
    'finetune*:train.lr=1e-4'. May be repeated."""
    device: str = "auto"
    """auto uses a GPU if there is one; or cpu, cuda."""
    workers: int = 0
    """Processes for preparing and decoding; 0: one for each core."""
    threads: int = 0
    """Threads of each training on a CPU; 0: PyTorch's default."""
    launch: str = ""
    """Launcher for training commands, such as "torchrun --nproc-per-node 8 -m wav2vec2". Default: this Python."""
    minutes: float = 0.0
    """Save and stop after this many minutes; the same command goes on. 0: no limit."""

    @property
    def from_nothing(self) -> bool:
        """Whether the encoder is new."""
        return self.source == SCRATCH

    def wishes(self) -> Wishes:
        """What the user has decided."""
        return Wishes(self.updates, self.pretrain_updates, self.pretrain, self.hours, self.self_training, self.way)

    def changes(self, stage: str) -> dict[str, Any]:
        """What --set changes in the recipe of a stage."""
        return changes_of(self.set, stage)

    @property
    def machine(self) -> Machine:
        """Where and how fast the stages run."""
        return Machine(self.device, self.workers, self.threads)

    def check(self) -> None:
        """Raise UserError for what cannot be."""
        if not self.source:
            raise UserError(
                "--from is not given: name the encoder to start from, such as facebook/wav2vec2-xls-r-300m, or scratch"
            )
        for name in ("updates", "pretrain_updates", "self_training", "workers", "threads"):
            if getattr(self, name) < 0:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at least 0")
        for name in ("hours", "minutes"):
            if not 0 <= getattr(self, name) < 1e6:
                raise UserError(f"--{name} {getattr(self, name):g}: must be at least 0")
        if self.trials < 1:
            raise UserError(f"--trials {self.trials}: must be at least 1")
        for path in self.text:
            if not path.is_file():
                raise UserError(f"--text {path}: no such file; give a text file with one sentence a line")
