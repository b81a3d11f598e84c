"""The stages of ``wav2vec2 adapt``, each an ordinary command.

What is chosen from the hours of speech is known once the first stages have run; until then a plan shows names in angle
brackets, and assumes that every stage is wanted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wav2vec2.adapt.divide import TEXT_FILE, TRAIN_FILE, TRANSCRIBED_FILE, UNTRANSCRIBED_FILE, VALID_FILE
from wav2vec2.adapt.listing import LISTING_FILE, read_listing
from wav2vec2.adapt.options import AdaptOptions
from wav2vec2.adapt.sources import Sources, find_sources
from wav2vec2.checkpoints.hub import is_hub_id
from wav2vec2.data.manifest import Manifest
from wav2vec2.errors import UserError
from wav2vec2.pipeline.plan import Plan
from wav2vec2.pipeline.recipe import Training
from wav2vec2.pipeline.stage import Argument, Command, File, Here, Ref, Stage, Value
from wav2vec2.recipe_files import recipe_path

WORK = "work"
PREPARE, TRANSCRIPTS, DIVIDE, CHOOSE = "prepare", "transcripts", "divide", "choose"
PRETRAIN, FINETUNE, NGRAM, EVALUATE = "pretrain", "finetune", "lm", "evaluate"
LABELS = "pseudo-"
_TRANSCRIBED = Ref(DIVIDE)
_BEAM = 100
_SURE = 0.5
_ADAPTERS_RATE = 1e-3  # of Hugging Face's guide to the adapters of MMS (huggingface/blog, mms_adapters.md)


@dataclass(frozen=True)
class Adaptation:
    """All stages, and the names of those whose results make up the recogniser."""

    plan: Plan
    sources: Sources
    model: str
    tune: str
    fruitless: str = ""
    """The stage of a round of self-training that kept no label; it and later rounds are left out."""

    @property
    def goals(self) -> list[str]:
        """The last stages."""
        return [self.tune, EVALUATE]

    @property
    def next_labels(self) -> str:
        """The first round's stage of labels that is still to do; "" if none is. What it keeps decides what follows."""
        return next((name for name in self.plan.by_name if name.startswith(LABELS) and not self.plan.done(name)), "")

    def news(self) -> str:
        """Say what has come to the folder of the recordings since they were prepared; "" if nothing has, or never."""
        if PREPARE not in self.plan.by_name or self.plan.done(PREPARE):
            return ""
        kept = [folder for folder in self.plan.earlier(PREPARE) if (folder / LISTING_FILE).exists()]
        newest = max(kept, key=lambda folder: (folder / LISTING_FILE).stat().st_mtime_ns, default=None)
        before = None if newest is None else read_listing(newest)
        return "" if before is None else self.sources.listing.news(before)

    def remember(self) -> None:
        """Keep what lies in the folder of the recordings beside what was prepared of it."""
        if PREPARE in self.plan.by_name and self.plan.done(PREPARE):
            folder = self.plan.folder(PREPARE)
            if not (folder / LISTING_FILE).exists():
                self.sources.listing.write(folder)

    def chosen(self) -> dict[str, Any]:
        """What the stage of choices wrote; empty before it has run."""
        return self.plan.values(CHOOSE) if self.plan.done(CHOOSE) else {}


def first_stages(options: AdaptOptions, sources: Sources) -> list[Stage]:
    """Prepare, divide, choose."""
    stages, manifest = [], sources.manifest
    given: Argument = File(Path(manifest)) if Path(manifest).exists() else manifest  # one on disk counts by its content
    divide: list[Argument] = ["adapt", "divide", given if manifest else Ref(PREPARE)]
    reads = sources.listing.digest if sources.recordings else ""
    if sources.recordings:
        work = Command(sources.recordings, options.machine.preparing_arguments(), reads)
        stages.append(Stage(PREPARE, work, "manifest.parquet", "list the recordings"))
    if sources.table:
        work = Command(sources.table, options.machine.preparing_arguments(), reads)
        stages.append(Stage(TRANSCRIPTS, work, "manifest.parquet", "read the table of transcripts"))
        divide += ["--transcripts", Ref(TRANSCRIPTS)]
    if sources.ids is not None:
        divide += ["--transcripts", File(sources.ids)]
    divide += ["--held-out-percent", options.held_out_percent]
    divide += ["--language", options.language] if options.language else []
    stages.append(
        Stage(DIVIDE, Command([*divide, "--out", Here()]), TRANSCRIBED_FILE, "train, valid and test, by speaker")
    )
    words: list[Argument] = ["adapt", "choose", Ref(DIVIDE, "values.json"), "--from", _source(options)]
    words += ["--pretrain", options.pretrain, "--self-training", options.self_training, "--hours", options.hours]
    words += ["--updates", options.updates, "--pretrain-updates", options.pretrain_updates, "--out", Here()]
    words += [] if options.way == "auto" else ["--way", options.way]
    stages.append(
        Stage(CHOOSE, Command(words, options.machine.device_arguments()), "values.json", "choose how to train")
    )
    return stages


def make_plan(options: AdaptOptions, sources: Sources | None = None) -> Adaptation:
    """Find out what the recordings are, unless it is known, and plan.

    Raises UserError for options that cannot be, and for files that are not there or cannot be read.
    """
    options.check()
    if not options.from_nothing and not Path(options.source).exists() and not is_hub_id(options.source):
        what = "give the folder of a model or a run, a file, an id on the hub such as facebook/wav2vec2-xls-r-300m"
        raise UserError(f"--from {options.source}: no such model; {what}, or scratch")
    sources = sources or find_sources(options.recordings, options.transcripts, options.out)
    first = first_stages(options, sources)
    early = Plan(options.out / WORK, first)
    first = [_reusing(stage, early) for stage in first]
    chosen = early.values(CHOOSE) if early.done(CHOOSE) else {}
    return _Later(options, chosen).adaptation(sources, first)


def _reusing(stage: Stage, plan: Plan) -> Stage:
    """A stage that prepares, with what it found of recordings before some of them changed or others came."""
    work = stage.work
    if stage.name not in (PREPARE, TRANSCRIPTS) or plan.done(stage.name) or not plan.earlier(stage.name):
        return stage
    assert isinstance(work, Command)
    return replace(stage, work=replace(work, machine=(*work.machine, "--reuse", str(plan.root))))


def _source(options: AdaptOptions) -> Argument:
    """A model on disk counts by its content, one on the hub by its name."""
    path = Path(options.source)
    return File(path) if not options.from_nothing and path.exists() else options.source


@dataclass(frozen=True)
class _Later:
    """The stages after the choice."""

    options: AdaptOptions
    chosen: Mapping[str, Any]

    def adaptation(self, sources: Sources, first: list[Stage]) -> Adaptation:
        stages, model = self._trained()
        stages.append(self._ngram(model))
        tune = self._tuned(model, "tune")
        stages.append(tune)
        fruitless = ""
        for number in range(1, self.options.self_training + 1):
            [labels, *more], taught = self._self_trained(number, model, tune.name)
            stages.append(labels)
            if self._kept_none(Plan(self.options.out / WORK, [*first, *stages]), labels.name):
                fruitless = labels.name
                break
            model, tune = taught, self._tuned(taught, f"tune-{number}")
            stages += [*more, tune]
        stages.append(self._evaluated(model, tune.name))
        return Adaptation(Plan(self.options.out / WORK, [*first, *stages]), sources, model, tune.name, fruitless)

    @staticmethod
    def _kept_none(plan: Plan, labels: str) -> bool:
        """Whether a round has found no label beside the transcripts that it was given."""
        if not plan.done(labels):
            return False
        given = Manifest.open(plan.folder(DIVIDE) / TRAIN_FILE)
        return len(Manifest.open(plan.result(labels))) == len(given)

    def _trained(self) -> tuple[list[Stage], str]:
        """The stages up to the recogniser, and the name of the one that holds it."""
        source = _source(self.options)
        pretrain, compare = self.chosen.get("pretrain", True), self.chosen.get("compare", True)
        if not pretrain:
            stage = self._finetune(FINETUNE, source, "fine-tune")
            return [stage], stage.name
        stages = [self._pretrain(source)]
        if self.options.from_nothing or self.options.pretrain == "always" or not compare:
            stages.append(self._finetune(FINETUNE, Ref(PRETRAIN), "fine-tune"))
            return stages, FINETUNE
        names = (f"{FINETUNE}-published", f"{FINETUNE}-continued")
        stages.append(self._finetune(names[0], source, "fine-tune the encoder as it is"))
        stages.append(self._finetune(names[1], Ref(PRETRAIN), "fine-tune the encoder whose pre-training went on"))
        stages.append(_keep("recogniser", names, "keep what recognises the held-out speakers better"))
        return stages, "recogniser"

    @property
    def _small(self) -> bool:
        """Whether the settings of small encoders are used; before that is known, by the name."""
        guess = "small" if self.options.from_nothing else "published"
        return bool(self.chosen.get("size", guess) == "small")

    def _training(self, name: str, command: str, recipe: str, settings: dict[str, Any], title: str) -> Stage:
        every = {**settings, **self.options.changes(name)}
        work = Training(command, recipe_path(recipe, None), every, self.options.machine.training_keys())
        return Stage(name, work, "model", title)

    def _pretrain(self, source: Argument) -> Stage:
        settings: dict[str, Any] = {
            "data.manifest": Ref(DIVIDE, UNTRANSCRIBED_FILE),
            "data.validation_manifest": Ref(DIVIDE, VALID_FILE),
            "train.updates": Value(CHOOSE, "pretrain_updates"),
            "log.validate_every": Value(CHOOSE, "pretrain_updates"),
            "health.chance_share": 1.0,
        }
        if self.options.from_nothing:
            return self._training(
                PRETRAIN, "pretrain", "pretrain_small_mfcc.toml", settings, "pre-train a small encoder from nothing"
            )
        settings["init"] = source
        settings |= {"init_quantizer": "redraw"} if self._small else {}
        recipe = "pretrain_small_mfcc.toml" if self._small else "adapt_pretrain.toml"
        return self._training(PRETRAIN, "pretrain", recipe, settings, "continue pre-training on your recordings")

    def _finetune(self, name: str, start: Argument, title: str, **changes: Any) -> Stage:
        settings: dict[str, Any] = {
            "init": start,
            "data.manifest": _TRANSCRIBED,
            "data.split": "train",
            "data.validation_manifest": _TRANSCRIBED,
            "data.validation_split": "valid",
            "data.validation_utterances": 200,
            "train.updates": Value(CHOOSE, "updates"),
            "batch.seconds": Value(CHOOSE, "batch_seconds"),
            "batch.micro_seconds": Value(CHOOSE, "micro_seconds"),
            "log.validate_every": Value(CHOOSE, "validate_every"),
            "log.save_every": Value(CHOOSE, "validate_every"),
            "text.auto": True,
        }
        settings |= {"text.language": self.options.language} if self.options.language else {}
        settings |= self._way()
        recipe = "finetune_small_10min.toml" if self._small else "adapt_finetune.toml"
        return self._training(name, "finetune", recipe, settings | changes, title)

    def _way(self) -> dict[str, Any]:
        """What is trained; nothing where the recipe, or the memory, decides."""
        options = self.options
        settings: dict[str, Any] = {"memory": options.memory} if options.memory else {}
        way = options.way
        if way == "auto" and not options.memory and not self._small:
            way = "context"
        if way != "auto":
            settings["tune.what"] = way
        if way == "adapters" and not self._small:
            settings["train.lr"] = _ADAPTERS_RATE
        return settings

    def _ngram(self, model: str) -> Stage:
        text: list[Argument] = [File(path) for path in self.options.text] or [Ref(DIVIDE, TEXT_FILE)]
        words: list[Argument] = ["lm", "ngram", *text, "--order", 4, "--out", Here("lm.arpa")]
        words += ["--symbols", Ref(model), "--lexicon", Here("lexicon.txt")]
        return Stage(NGRAM, Command(words), "lm.arpa", "estimate the 4-gram, and list its words")

    def _tuned(self, model: str, name: str) -> Stage:
        words: list[Argument] = ["tune", Ref(model), _TRANSCRIBED, "--split", "valid", "--lm", Ref(NGRAM)]
        words += ["--decoder", "beam", "--beam", _BEAM, "--trials", self.options.trials, "--out", Here("preset.toml")]
        title = "tune the weight of the language model on the held-out speakers"
        return Stage(name, Command(words, self.options.machine.decoding_arguments()), "preset.toml", title)

    def _self_trained(self, number: int, model: str, tune: str) -> tuple[list[Stage], str]:
        """A round of self-training: the stages, and the name of the one that holds the model."""
        name = f"{LABELS}{number}"
        words: list[Argument] = ["pseudo-label", Ref(model), Ref(DIVIDE, UNTRANSCRIBED_FILE), "--preset", Ref(tune)]
        words += ["--check", Ref(DIVIDE, VALID_FILE), "--add", Ref(DIVIDE, TRAIN_FILE), "--best-share", _SURE]
        words += ["--min-confidence", 0.0, "--min-agreement", 0.0, "--min-rate", Value(DIVIDE, "least_rate")]
        words += ["--out", Here("pseudo.parquet")]
        title = "transcribe the untranscribed, and keep the half that the recogniser is surest of"
        labels = Stage(name, Command(words, self.options.machine.decoding_arguments()), "pseudo.parquet", title)
        changes: dict[str, Any] = {
            "data.manifest": Ref(name),
            "data.split": "",
            "text.vocabulary": Ref(model),
            "train.updates": Value(CHOOSE, "self_updates"),
        }
        tuned = self._finetune(f"{FINETUNE}-self-{number}", Ref(model), "go on with both", **changes)
        kept = _keep(f"recogniser-{number}", (model, tuned.name), "keep what recognises the held-out speakers better")
        return [labels, tuned, kept], kept.name

    def _evaluated(self, model: str, tune: str) -> Stage:
        words: list[Argument] = ["evaluate", Ref(model), _TRANSCRIBED, "--split", "valid+test", "--preset", Ref(tune)]
        words += ["--worst", 0, "--hypotheses", Here("hypotheses.tsv"), "--out", Here("evaluation.json")]
        title = "error rates on the test speakers, with and without the language model"
        return Stage(EVALUATE, Command(words, self.options.machine.decoding_arguments()), "evaluation.json", title)


def _keep(name: str, runs: tuple[str, ...], title: str) -> Stage:
    words: list[Argument] = ["adapt", "keep", *(Ref(run, ".") for run in runs), "--out", Here()]
    return Stage(name, Command(words), "model", title)
