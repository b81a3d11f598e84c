"""What all experiments take: where the speech and text are, what exists already, size, machine, and what to print."""

from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import UseAppendAction

from wav2vec2.errors import UserError
from wav2vec2.experiment.scale import ScaleName

DEFAULT_OUT = Path("runs")
Repeated = Annotated[tuple[str, ...], UseAppendAction]
"""An option that is given once for each value."""


@dataclass(frozen=True, kw_only=True)
class ExperimentOptions:
    """Options of every experiment. The same command goes on where it was stopped, and skips what is done."""

    out: Path | None = None
    """Folder of the stages, results and report; runs/NAME-SCALE if not given."""
    scale: ScaleName = "small"
    """tiny: minutes, shows that everything runs. small: hours on CPU cores. medium: half an hour on one GPU. paper: as
    published. Changes model, hours and updates only."""
    speech: Path | None = None
    """A LibriSpeech-like tree; a manifest is made of it. labels-*.txt in it are lists of ids of labelled utterances."""
    manifest: Path | None = None
    """A manifest that is there already, instead."""
    lm_text: tuple[Path, ...] = ()
    """Text for language models, one sentence a line."""
    lm_text_ids: bool = False
    """The first word of each of its lines is an utterance id."""
    ngram: Path | None = None
    """An n-gram model that is there already."""
    transformer_lm: Path | None = None
    """A Transformer language model that is there already."""
    pretrained: Path | None = None
    """A pre-trained model that is there already: nothing is pre-trained, and its sizes are those of every model."""
    adopt: Repeated = ()
    """STAGE=PATH, as often as needed: the result of a stage was made elsewhere. A finetune-* stage takes a model
    directory or its run's folder, evaluate-* the hypotheses file of 'wav2vec2 evaluate', tune-* a preset."""
    set: Repeated = ()
    """STAGE:KEY=VALUE, as often as needed, changes a key of the recipe of every training stage of that name or pattern,
    such as 'finetune-*:train.lr=1e-3'."""
    updates_scale: float = 1.0
    """Multiplies the updates of every training."""
    trials: int = 0
    """Trials of every search for language model weights; 0 is the scale's number."""
    recipes: Path | None = None
    """Folder of recipes, instead of those that come along."""
    workers: int = 0
    """Processes that prepare and decode; 0: one for each core."""
    threads: int = 0
    """Threads of each training on a CPU; 0 leaves PyTorch's choice."""
    device: str = "auto"
    """auto takes a GPU if there is one; cpu; cuda."""
    launch: str = ""
    """What starts training commands, such as "torchrun --nproc-per-node 8 -m wav2vec2"; empty: this Python."""
    minutes: float = 0.0
    """Save and leave after so many minutes; 0: no limit."""
    keep_going: bool = False
    """After a failed stage, run those that do not depend on it."""
    only: tuple[str, ...] = ()
    """Run these stages alone (names or patterns)."""
    dry_run: bool = False
    """Print every stage with its command and state, and run nothing."""
    table: bool = False
    """Print the table of what is done so far, and run nothing."""

    def folder(self, name: str) -> Path:
        """Where the experiment of that name works."""
        return self.out or DEFAULT_OUT / f"{name}-{self.scale}"

    def updates(self, number: int) -> int:
        """Updates of a training, scaled."""
        return max(1, round(number * self.updates_scale))

    def adopted(self) -> dict[str, Path]:
        """Results made elsewhere, by stage. Raises UserError for something else than STAGE=PATH."""
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
        """What ``--set`` changes of the recipe of a stage, by dotted key.

        Raises UserError for something else than STAGE:KEY=VALUE.
        """
        found: dict[str, Any] = {}
        for text in self.set:
            pattern, colon, rest = text.partition(":")
            key, equals, value = rest.partition("=")
            if not colon or not equals:
                raise UserError(f"--set {text}: write STAGE:KEY=VALUE, such as pretrain:train.lr=1e-3")
            if fnmatch(stage, pattern):
                found[key.replace("-", "_")] = _parsed(value)
        return found

    def check(self) -> None:
        """Raise UserError for numbers out of range."""
        for name, value in (("workers", self.workers), ("threads", self.threads), ("trials", self.trials)):
            if value < 0:
                raise UserError(f"--{name} {value}: must be at least 0")
        if not 0 < self.updates_scale <= 1000:
            raise UserError(f"--updates-scale {self.updates_scale:g}: must be above 0 and at most 1000")
        if not 0 <= self.minutes < 1e6:
            raise UserError(f"--minutes {self.minutes:g}: must be at least 0")


def _parsed(value: str) -> Any:
    """A TOML value, or the text itself."""
    import tomllib

    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value
    return tuple(parsed) if isinstance(parsed, list) else parsed


@dataclass
class Machine:
    """Arguments that say where and with how much a command runs."""

    options: ExperimentOptions

    def training(self) -> dict[str, Any]:
        """Keys of a recipe."""
        keys: dict[str, Any] = {"log.tensorboard": False}
        if self.options.threads:
            keys["train.threads"] = self.options.threads
        if self.options.device != "auto":
            keys["train.device"] = self.options.device
        return keys

    def decoding(self) -> tuple[str, ...]:
        """Arguments of tune and evaluate."""
        words: list[str] = []
        if self.options.workers:
            words += ["--workers", str(self.options.workers)]
        if self.options.device != "auto":
            words += ["--device", self.options.device]
        return tuple(words)

    def preparing(self) -> tuple[str, ...]:
        """Arguments of prepare."""
        return ("--workers", str(self.options.workers)) if self.options.workers else ()
