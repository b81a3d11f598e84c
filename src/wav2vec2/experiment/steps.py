"""The stages that experiments are made of: speech, pre-training, fine-tuning, language models, tuning, evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wav2vec2.errors import UserError
from wav2vec2.experiment.cell import score_cells
from wav2vec2.experiment.choose import choose_speech
from wav2vec2.experiment.options import ExperimentOptions, LabelledOptions, LimitedOptions
from wav2vec2.experiment.scale import Scale, Tuning, scale_named
from wav2vec2.pipeline.recipe import Training
from wav2vec2.pipeline.stage import Argument, Command, File, Function, Here, Ref, Stage, Value, result_in
from wav2vec2.recipe_files import recipe_path

LMS = ("greedy", "ngram", "transformer")
"""Ways of decoding, in the order of the paper's columns."""
PREPARED, SPEECH, PRETRAINED, NGRAM, TRANSFORMER = "prepare", "speech", "pretrain", "lm-ngram", "lm-transformer"
_SCRATCH_DROPOUTS = ("dropout", "attention_dropout", "activation_dropout", "input_dropout")


@dataclass(frozen=True)
class Steps:
    """Makes the stages of one experiment from its options."""

    options: ExperimentOptions

    @property
    def scale(self) -> Scale:
        """The chosen scale, with the options' number of trials."""
        scale = scale_named(self.options.scale)
        if self.options.trials:
            scale = replace(scale, tuning=replace(scale.tuning, trials=self.options.trials))
        return scale

    def prepare(self) -> Stage:
        """The manifest of a folder in LibriSpeech's layout. Raises UserError if neither it nor a manifest is given."""
        options = self.options
        if options.speech is None and options.manifest is None:
            raise UserError("no speech given: use --speech FOLDER (LibriSpeech's layout) or --manifest FILE")
        words: list[Argument] = ["prepare", "librispeech", str((options.speech or Path("LibriSpeech")).resolve())]
        words += ["--out", Here(), "--check", "header"]
        return self.preparing(PREPARED, words, "list the recordings")

    def preparing(self, name: str, words: Sequence[Argument], title: str) -> Stage:
        """A stage of the command ``prepare``."""
        return Stage(name, Command(words, self.options.machine.preparing_arguments()), "manifest.parquet", title)

    def training(self, name: str, command: str, recipe: str, settings: Mapping[str, Any], title: str) -> Stage:
        """A training command; ``--set`` overrides its settings, and its number of updates is scaled."""
        path = recipe_path(recipe, self.options.recipes)
        machine = self.options.machine.training_keys()
        unscaled = Training(command, path, {**settings, **self.options.changes(name)}, machine)
        config = unscaled.config()
        updates = self.options.updates(config.train.updates)
        scaled: dict[str, Any] = dict(unscaled.settings)
        if updates != config.train.updates:
            scaled["train.updates"] = updates
        often = max(1, min(config.log.validate_every, updates // 4))
        if often != config.log.validate_every and config.log.validate_every:
            scaled["log.validate_every"] = often
        if command == "pretrain" and (self.options.scale == "tiny" or self.options.updates_scale < 1.0):
            scaled["health.chance_share"] = 1.0  # with so few updates the loss may stay at chance: do not stop for it
        return Stage(name, Training(command, path, scaled, machine), "model", title)

    def pretrain(self, settings: Mapping[str, Any], *, name: str = PRETRAINED, recipe: str = "") -> Stage:
        """Pre-training on unlabelled speech, by the scale's recipe unless one is given."""
        return self.training(
            name, "pretrain", recipe or self.scale.pretrain, settings, "pre-train on unlabelled speech"
        )

    def finetune(
        self,
        name: str,
        recipe: str,
        settings: Mapping[str, Any],
        title: str,
        *,
        start: Argument | None,
        few_labels: bool = False,
    ) -> Stage:
        """Fine-tuning, the same for every arm of an experiment except for where it starts.

        Args:
            name: of the stage.
            recipe: of fine-tuning.
            settings: changes of the recipe, by dotted key.
            title: of the stage.
            start: a pre-trained model; None: random weights, all of which are trained from the first update.
            few_labels: from random weights, use the scale's dropout for few labels.
        """
        settings = {**settings, "init": "scratch" if start is None else start}
        if start is None:
            settings |= {"regularization.feature_grad_mult": 1.0, "freeze.share": 0.0, "freeze.updates": 0}
            settings |= self.model_settings()
            if self.scale.scratch_dropout is not None and few_labels:
                settings |= {f"regularization.{place}": self.scale.scratch_dropout for place in _SCRATCH_DROPOUTS}
        return self.training(name, "finetune", recipe, settings, title)

    def model_settings(self) -> dict[str, Any]:
        """Sizes of every model beyond what its recipe says: those of ``--pretrained`` if given, else the scale's.

        Raises UserError for a model that cannot be read.
        """
        path = self.options.adopted().get(PRETRAINED)
        if path is None:
            return dict(self.scale.model)
        from dataclasses import fields

        from wav2vec2.checkpoints.load import describe
        from wav2vec2.train.options import ModelConfig

        architecture = describe(result_in(path, "model")).architecture
        names = [field.name for field in fields(ModelConfig) if field.name != "architecture"]
        return {f"model.{name}": getattr(architecture, name) for name in names}

    def language_models(self, lms: Sequence[str]) -> list[Stage]:
        """The n-gram and the Transformer language model, if ``lms`` names them.

        Raises UserError if there is neither text nor a trained model.
        """
        options, found = self.options, []
        text: tuple[Argument, ...] = tuple(File(path) for path in options.lm_text)
        for lm, given in (("ngram", options.ngram), ("transformer", options.transformer_lm)):
            if lm in lms and given is None and not text:
                leave = ", or leave it out with --lms greedy" if hasattr(options, "lms") else ""
                trained = "--ngram" if lm == "ngram" else "--transformer-lm"
                raise UserError(
                    f"no text for the {lm} language model: give --lm-text FILE, or a trained model ({trained}){leave}"
                )
        for path in options.lm_text:
            if not path.exists():
                raise UserError(f"--lm-text {path}: no such file")
        if "ngram" in lms or "transformer" in lms:
            words: list[Argument] = ["lm", "ngram", *text, "--order", 4, "--out", Here("lm.arpa")]
            words += ["--ids"] if options.lm_text_ids else []
            found.append(Stage(NGRAM, Command(words), "lm.arpa", "estimate the 4-gram"))
        if "transformer" in lms:
            settings = {"data.text": text, "data.ids": options.lm_text_ids}
            settings["data.hold_out"] = self.scale.language_model_hold_out
            recipe = self.scale.language_model
            found.append(self.training(TRANSFORMER, "lm transformer", recipe, settings, "train the Transformer LM"))
        return found

    def decode(
        self,
        name: str,
        model: Argument,
        *,
        manifest: Argument,
        dev: Argument,
        tests: Argument,
        lms: Sequence[str],
        row: Mapping[str, str],
        presets: Mapping[str, str] | None = None,
    ) -> list[Stage]:
        """Tune language model weights, transcribe, and score. The last stages, named score-*, are the goals.

        Args:
            name: of the row.
            model: the recogniser.
            manifest: the speech.
            dev: splits to tune on.
            tests: splits to transcribe and score.
            lms: ways of decoding, in the order of ``LMS``.
            row: what describes the row.
            presets: by language model, a preset to use instead of tuning.
        """
        tuning, presets = self.scale.tuning, presets or {}
        stages = self._tuned(name, model, manifest, dev, [lm for lm in lms if lm not in presets])
        facts = tuple(f"{key}={value}" for key, value in row.items())

        def preset(lm: str) -> list[Argument]:
            return ["--preset", presets[lm] if lm in presets else Ref(f"tune-{lm}-{name}")]

        passes: list[tuple[str, list[str], list[Argument]]] = []
        if "transformer" in lms and tuning.transformer == "rescore":
            words = [*preset("transformer"), "--beam", tuning.test_ngram_beam]
            passes.append(("", ["greedy", "ngram", "transformer"], words))
        elif "ngram" in lms:
            words = [*preset("ngram"), "--lm", Ref(NGRAM), "--beam", tuning.test_ngram_beam]
            passes.append(("", ["greedy", "ngram"], words))
        else:
            passes.append(("", ["greedy"], []))
        if "transformer" in lms and tuning.transformer == "search":
            words = [*preset("transformer"), "--lm", Ref(TRANSFORMER), "--beam", tuning.test_transformer_beam]
            passes.append(("transformer-", ["", "transformer"], words))
        for prefix, columns, options in passes:
            decoded, scored = f"evaluate-{prefix}{name}", f"score-{prefix}{name}"
            words = ["evaluate", model, manifest, "--split", tests, *options, "--worst", 0]
            words += ["--hypotheses", Here("hypotheses.tsv"), "--out", Here("evaluation.json")]
            command = Command(words, self.options.machine.decoding_arguments())
            stages.append(Stage(decoded, command, "hypotheses.tsv", "transcribe the test splits"))
            stages.append(scoring(scored, decoded, manifest, name, columns, facts))
        return stages

    def _tuned(self, name: str, model: Argument, manifest: Argument, dev: Argument, lms: Sequence[str]) -> list[Stage]:
        tuning: Tuning = self.scale.tuning
        stages, machine = [], self.options.machine.decoding_arguments()
        head: list[Argument] = ["tune", model, manifest, "--split", dev, "--trials", tuning.trials]
        search: list[Argument] = ["--decoder", tuning.decoder]
        tail: list[Argument] = ["--out", Here("preset.toml")]
        rescored = "transformer" in lms and tuning.transformer == "rescore"
        if "ngram" in lms or rescored:
            words = [*head, *search, "--lm", Ref(NGRAM), "--beam", tuning.ngram_beam, *tail]
            title = "tune language model weight and word score on dev"
            stages.append(Stage(f"tune-ngram-{name}", Command(words, machine), "preset.toml", title))
        if rescored:
            words = [*head, "--preset", Ref(f"tune-ngram-{name}"), "--rescore", Ref(TRANSFORMER)]
            words += ["--rescore-share", tuning.share, "--emissions", Ref(f"tune-ngram-{name}", "preset.emissions.npz")]
            title = "tune the Transformer's weight in rescoring on dev"
            stages.append(Stage(f"tune-transformer-{name}", Command([*words, *tail], machine), "preset.toml", title))
        elif "transformer" in lms:
            words = [*head, "--decoder", "beam", "--lm", Ref(TRANSFORMER), "--beam", tuning.transformer_beam, *tail]
            title = "tune the Transformer's weight in the search on dev"
            stages.append(Stage(f"tune-transformer-{name}", Command(words, machine), "preset.toml", title))
        return stages


def scoring(
    name: str, decoded: str, manifest: Argument, row: str, columns: Sequence[str], facts: Sequence[str]
) -> Stage:
    """Count the errors in the hypotheses of the stage ``decoded``; see ``score_cells``."""
    settings: dict[str, Any] = {"hypotheses": Ref(decoded), "manifest": manifest, "name": row}
    settings |= {"lms": tuple(columns), "row": tuple(facts)}
    return Stage(name, Function(score_cells, settings), "cells", "count the errors")


def speech_stage(steps: Steps, options: LabelledOptions, tiers: Sequence[str]) -> Stage:
    """Splits, hours and labels of an experiment; see ``choose_speech``."""
    scale = steps.scale
    settings: dict[str, Any] = {
        "manifest": Ref(PREPARED),
        "train": options.train_splits,
        "dev": options.dev_splits,
        "tests": options.test_splits,
        "tiers": tuple(tiers),
        "lists": tuple(options.label_lists(tiers)),
        "train_seconds": scale.train_seconds,
        "dev_seconds": scale.dev_seconds,
        "test_seconds": scale.test_seconds,
        "hold_out": scale.hold_out,
    }
    return Stage(SPEECH, Function(choose_speech, settings), "manifest.parquet", "choose splits, hours and labels")


def limited_stages(steps: Steps, options: LimitedOptions, tiers: Sequence[str]) -> list[Stage]:
    """The manifests of those tiers that are Libri-light's official sets."""
    stages = []
    for tier in filter(options.is_limited, tiers):
        assert options.limited is not None
        words: list[Argument] = ["prepare", "limited", str(options.limited.resolve()), "--size", tier]
        words += ["--fold", options.fold] if tier == "10min" and options.fold else []
        stages.append(steps.preparing(f"prepare-{tier}", [*words, "--out", Here()], f"list Libri-light's {tier} set"))
    return stages


def splits(kind: str) -> Value:
    """The names of the train, dev or test splits, as the speech stage chose them."""
    return Value(SPEECH, f"{kind}_splits")
