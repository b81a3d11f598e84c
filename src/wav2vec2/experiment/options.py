"""Options that experiments share: data, existing results, size, machine, and what to run or print."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wav2vec2.errors import UserError
from wav2vec2.experiment.scale import ScaleName
from wav2vec2.pipeline.changes import Repeated, changes_of
from wav2vec2.pipeline.machine import Machine
from wav2vec2.pipeline.stage import File

DEFAULT_OUT = Path("runs")
LIMITED = ("10min", "1h", "10h")
"""The amounts of labels that Libri-light has official sets of."""
FOLDS = 6
"""Libri-light's one hour of labels consists of six folds of ten minutes."""


@dataclass(frozen=True, kw_only=True)
class ExperimentOptions:
    """Options of every experiment. Run the same command again to resume: finished stages are skipped."""

    speech: Path | None = None
    """Folder of speech in LibriSpeech's layout. A file labels-NAME.txt in it lists ids of labelled utterances."""
    manifest: Path | None = None
    """A prepared manifest, instead of --speech."""
    lm_text: tuple[Path, ...] = ()
    """Text files to train the language models on, one sentence a line."""
    lm_text_ids: bool = False
    """The first word of each line of --lm-text is an utterance id."""
    scale: ScaleName = "small"
    """Size of the models, hours of speech and number of updates. tiny: minutes, to see that everything runs. small:
    hours on CPU cores. medium: half an hour on one GPU. paper: as published."""
    out: Path | None = None
    """Folder for the stages, results and report. Default: runs/NAME-SCALE."""
    dry_run: bool = False
    """Print every stage with its command and state, and run nothing."""
    table: bool = False
    """Print the table of the results so far, and run nothing: of the folder --out, or of the same options as in the
    run."""
    only: tuple[str, ...] = ()
    """Run only these stages (names or patterns)."""
    pretrained: Path | None = None
    """A pre-trained model; nothing is pre-trained, and models trained from scratch get its sizes."""
    ngram: Path | None = None
    """A trained n-gram model; none is estimated."""
    transformer_lm: Path | None = None
    """A trained Transformer language model; none is trained."""
    adopt: Repeated = ()
    """STAGE=PATH: use a result that was made elsewhere in place of the stage. A finetune-* stage takes a model
    directory or the folder of a run, evaluate-* the hypotheses file of 'wav2vec2 evaluate', tune-* a preset. May be
    repeated."""
    set: Repeated = ()
    """STAGE:KEY=VALUE: change a key of the recipe of every training stage whose name matches, such as
    'finetune-*:train.lr=1e-3'. May be repeated."""
    updates_scale: float = 1.0
    """Factor on the number of updates of every training."""
    trials: int = 0
    """Trials of every search for language model weights; 0: as the scale says."""
    recipes: Path | None = None
    """Folder of recipes to use instead of the packaged ones."""
    device: str = "auto"
    """auto uses a GPU if there is one; or cpu, cuda."""
    workers: int = 0
    """Processes for preparing and decoding; 0: one for each core."""
    threads: int = 0
    """Threads of each training on a CPU; 0: PyTorch's default."""
    launch: str = ""
    """Launcher for training commands, such as "torchrun --nproc-per-node 8 -m wav2vec2". Default: this Python."""
    minutes: float = 0.0
    """Save and stop after this many minutes; 0: no limit."""
    keep_going: bool = False
    """After a stage has failed, run the stages that do not depend on it."""

    def folder(self, name: str) -> Path:
        """The output folder of the experiment of that name."""
        return self.out or DEFAULT_OUT / f"{name}-{self.scale}"

    def updates(self, number: int) -> int:
        """The number of updates of a training, scaled."""
        return max(1, round(number * self.updates_scale))

    def adopted(self) -> dict[str, Path]:
        """Results made elsewhere, by stage. Raises UserError for an --adopt that is not STAGE=PATH."""
        found: dict[str, Path] = {}
        for pair in self.adopt:
            stage, equals, path = pair.partition("=")
            if not equals or not path:
                raise UserError(f"--adopt {pair}: write STAGE=PATH, such as pretrain=runs/mine/model")
            found[stage] = Path(path)
        given = (("prepare", self.manifest), ("lm-ngram", self.ngram), ("lm-transformer", self.transformer_lm))
        for stage, option in (*given, ("pretrain", self.pretrained)):
            if option is not None:
                found[stage] = option
        return found

    def changes(self, stage: str) -> dict[str, Any]:
        """What ``--set`` changes in the recipe of a stage, by dotted key; see `changes_of`."""
        return changes_of(self.set, stage)

    def check(self) -> None:
        """Raise UserError for a number that is out of range."""
        for name, value in (("workers", self.workers), ("threads", self.threads), ("trials", self.trials)):
            if value < 0:
                raise UserError(f"--{name} {value}: must be at least 0")
        if not 0 < self.updates_scale <= 1000:
            raise UserError(f"--updates-scale {self.updates_scale:g}: must be above 0 and at most 1000")
        if not 0 <= self.minutes < 1e6:
            raise UserError(f"--minutes {self.minutes:g}: must be at least 0")

    @property
    def machine(self) -> Machine:
        """Where and how fast the stages run."""
        return Machine(self.device, self.workers, self.threads)


@dataclass(frozen=True, kw_only=True)
class LabelledOptions(ExperimentOptions):
    """Options of an experiment on one corpus with lists of labelled utterances."""

    labels: Repeated = ()
    """NAME=FILE: the ids of the labelled utterances of that amount of labels, one a line. Default: labels-NAME.txt in
    --speech. May be repeated."""
    train_splits: str = ""
    """Training splits, joined by "+". Default: those whose names begin with "train"."""
    dev_splits: str = ""
    """Splits for choosing learning rates and language model weights. Default: those named dev* or valid*."""
    test_splits: str = ""
    """Splits to score. Default: those named test*."""

    def label_lists(self, tiers: Sequence[str]) -> list[File]:
        """The list of every tier but "all", in order. Raises UserError for one that is missing."""
        named = dict(pair.partition("=")[::2] for pair in self.labels)
        if set(named) - set(tiers) or not all(named.values()):
            raise UserError(f"--labels {' '.join(self.labels)}: write NAME=FILE, names are {', '.join(tiers)}")
        found = []
        for tier in tiers:
            if tier == "all":
                continue
            path = Path(named[tier]) if tier in named else (self.speech or Path()) / f"labels-{tier}.txt"
            if not path.is_file():
                raise UserError(f"{path}: no list of the labelled utterances of '{tier}'; {self._remedy(tier)}")
            found.append(File(path))
        return found

    def _remedy(self, tier: str) -> str:
        return f"give --labels {tier}=FILE"


@dataclass(frozen=True, kw_only=True)
class LimitedOptions(LabelledOptions):
    """Options of an experiment that can take its labels from Libri-light's official limited-supervision sets."""

    limited: Path | None = None
    """Libri-light's folder librispeech_finetuning, whose official sets 10min, 1h and 10h are then used, as in the
    paper. Without it --labels gives lists of ids."""
    fold: int = 0
    """With --limited: which of the six ten-minute folds is 10min, 0 to 5. Results vary between folds: run each one with
    an --out of its own to see by how much."""

    def check(self) -> None:
        """Raise UserError for a number that is out of range."""
        super().check()
        if not 0 <= self.fold < FOLDS:
            raise UserError(f"--fold {self.fold}: must be from 0 to {FOLDS - 1}")

    def is_limited(self, tier: str) -> bool:
        """Whether this amount of labels is one of Libri-light's official sets."""
        return self.limited is not None and tier in LIMITED

    def _remedy(self, tier: str) -> str:
        official = "--limited FOLDER (Libri-light's official sets) or " if tier in LIMITED else ""
        return f"give {official}--labels {tier}=FILE"
