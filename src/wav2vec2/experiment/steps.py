"""The stages that experiments are made of: speech, pre-training, language models, tuning, evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wav2vec2.errors import UserError
from wav2vec2.experiment.options import ExperimentOptions, Machine
from wav2vec2.experiment.results.cell import score_cells
from wav2vec2.experiment.scale import Scale, Tuning, scale_named
from wav2vec2.pipeline.recipe import Training, recipe_path
from wav2vec2.pipeline.stage import Argument, Command, File, Function, Here, Ref, Stage, Value, made_in

LMS = ("greedy", "ngram", "transformer")
"""Ways of decoding, in the order of the paper's columns."""
PREPARED, SPEECH, PRETRAINED, NGRAM, TRANSFORMER = "prepare", "speech", "pretrain", "lm-ngram", "lm-transformer"


@dataclass(frozen=True)
class Steps:
    """Makes stages for one experiment's options."""

    options: ExperimentOptions

    @property
    def scale(self) -> Scale:
        """The chosen size, with the options' number of trials."""
        scale = scale_named(self.options.scale)
        if self.options.trials:
            scale = replace(scale, tuning=replace(scale.tuning, trials=self.options.trials))
        return scale

    @property
    def machine(self) -> Machine:
        """Where it runs."""
        return Machine(self.options)

    def prepare(self) -> Stage:
        """The manifest of a LibriSpeech-like tree. Raises UserError without one, and without a manifest."""
        options = self.options
        if options.speech is None and options.manifest is None:
            raise UserError("there is no speech: give --speech FOLDER (LibriSpeech's layout) or --manifest FILE")
        words: list[Argument] = ["prepare", "librispeech", str((options.speech or Path("LibriSpeech")).resolve())]
        words += ["--out", Here(), "--check", "header"]
        return Stage(PREPARED, Command(words, self.machine.preparing()), "manifest.parquet", "list the recordings")

    def training(self, name: str, command: str, recipe: str, settings: Mapping[str, Any], title: str) -> Stage:
        """A training command; ``--set`` has the last word about its settings, and the updates are scaled."""
        path = recipe_path(recipe, self.options.recipes)
        machine = self.machine.training()
        plain = Training(command, path, {**settings, **self.options.changes(name)}, machine)
        config = plain.config()
        updates = self.options.updates(config.train.updates)
        scaled: dict[str, Any] = dict(plain.settings)
        if updates != config.train.updates:
            scaled["train.updates"] = updates
        often = max(1, min(config.log.validate_every, updates // 4))
        if often != config.log.validate_every and config.log.validate_every:
            scaled["log.validate_every"] = often
        if command == "pretrain" and (self.options.scale == "tiny" or self.options.updates_scale < 1.0):
            scaled["health.chance_share"] = 1.0  # so few updates may never leave chance: no reason to stop
        return Stage(name, Training(command, path, scaled, machine), "model", title)

    def pretrain(self, settings: Mapping[str, Any], *, name: str = PRETRAINED, recipe: str = "") -> Stage:
        """Pre-training on sound alone."""
        return self.training(name, "pretrain", recipe or self.scale.pretrain, settings, "pre-train on sound alone")

    def language_models(self, lms: Sequence[str]) -> list[Stage]:
        """The n-gram and the Transformer, as far as ``lms`` names them.

        Raises UserError where there is neither text nor a model.
        """
        options, found = self.options, []
        text: tuple[Argument, ...] = tuple(File(path) for path in options.lm_text)
        for lm, given in (("ngram", options.ngram), ("transformer", options.transformer_lm)):
            if lm in lms and given is None and not text:
                raise UserError(
                    f"no text for the {lm} language model: give --lm-text FILE, or the model itself "
                    f"(--{'ngram' if lm == 'ngram' else 'transformer-lm'}), or leave it out with --lms greedy"
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
        """Tuning on ``dev``, decoding of ``tests``, and the cells ``NAME-LM`` of a table.

        presets: names of presets to take instead of tuning, by language model. The last stages, called score-*, are
        the goals.
        """
        tuning, presets = self.scale.tuning, presets or {}
        stages = self._tuned(name, model, manifest, dev, [lm for lm in lms if lm not in presets])
        facts = tuple(f"{key}={value}" for key, value in row.items())

        def chosen(lm: str) -> list[Argument]:
            return ["--preset", presets[lm] if lm in presets else Ref(f"tune-{lm}-{name}")]

        lm_of: dict[str, Argument] = {"ngram": Ref(NGRAM), "transformer": Ref(TRANSFORMER)}
        passes: list[tuple[str, list[str], list[Argument]]] = []
        if "transformer" in lms and tuning.transformer == "rescore":
            words = [*chosen("transformer"), "--beam", tuning.test_ngram_beam]
            passes.append(("", ["greedy", "ngram", "transformer"], words))
        elif "ngram" in lms:
            words = [*chosen("ngram"), "--lm", lm_of["ngram"], "--beam", tuning.test_ngram_beam]
            passes.append(("", ["greedy", "ngram"], words))
        else:
            passes.append(("", ["greedy"], []))
        if "transformer" in lms and tuning.transformer == "search":
            words = [*chosen("transformer"), "--lm", lm_of["transformer"], "--beam", tuning.test_transformer_beam]
            passes.append(("transformer-", ["", "transformer"], words))
        for prefix, columns, options in passes:
            decoded, scored = f"evaluate-{prefix}{name}", f"score-{prefix}{name}"
            words = ["evaluate", model, manifest, "--split", tests, *options, "--worst", 0]
            words += ["--hypotheses", Here("hypotheses.tsv"), "--out", Here("evaluation.json")]
            command = Command(words, self.machine.decoding())
            stages.append(Stage(decoded, command, "hypotheses.tsv", "transcribe the tests"))
            settings: dict[str, Any] = {"hypotheses": Ref(decoded), "manifest": manifest, "name": name}
            settings |= {"lms": tuple(columns), "row": facts}
            stages.append(Stage(scored, Function(score_cells, settings), "cells", "count the errors"))
        return stages

    def _tuned(self, name: str, model: Argument, manifest: Argument, dev: Argument, lms: Sequence[str]) -> list[Stage]:
        tuning: Tuning = self.scale.tuning
        stages, machine = [], self.machine.decoding()
        head: list[Argument] = ["tune", model, manifest, "--split", dev, "--trials", tuning.trials]
        search: list[Argument] = [] if tuning.decoder == "auto" else ["--decoder", tuning.decoder]
        tail: list[Argument] = ["--out", Here("preset.toml")]
        rescored = "transformer" in lms and tuning.transformer == "rescore"
        if "ngram" in lms or rescored:
            words = [*head, *search, "--lm", Ref(NGRAM), "--beam", tuning.ngram_beam, *tail]
            title = "language model weight and word score on dev"
            stages.append(Stage(f"tune-ngram-{name}", Command(words, machine), "preset.toml", title))
        if rescored:
            words = [*head, "--preset", Ref(f"tune-ngram-{name}"), "--rescore", Ref(TRANSFORMER)]
            words += ["--rescore-share", tuning.share, "--emissions", Ref(f"tune-ngram-{name}", "preset.emissions.npz")]
            title = "weight of the Transformer in rescoring, on dev"
            stages.append(Stage(f"tune-transformer-{name}", Command([*words, *tail], machine), "preset.toml", title))
        elif "transformer" in lms:
            words = [*head, *search, "--lm", Ref(TRANSFORMER), "--beam", tuning.transformer_beam, *tail]
            title = "weight of the Transformer in the search, on dev"
            stages.append(Stage(f"tune-transformer-{name}", Command(words, machine), "preset.toml", title))
        return stages


def model_settings(steps: Steps) -> dict[str, Any]:
    """What the sizes of every model of an experiment are, besides the recipe: those of ``--pretrained``, if given.

    Raises UserError for a model that cannot be read, and one whose sizes a recipe cannot say.
    """
    path = steps.options.adopted().get(PRETRAINED)
    if path is None:
        return dict(steps.scale.model)
    from dataclasses import fields

    from wav2vec2.checkpoints.load import describe
    from wav2vec2.train.options import ModelConfig

    architecture = describe(made_in(path, "model")).architecture
    found: dict[str, Any] = {}
    for field in fields(ModelConfig):
        if field.name != "architecture":
            found[f"model.{field.name}"] = getattr(architecture, field.name)
    return found


def splits(kind: str) -> Value:
    """The names of the train, dev or test splits, as the stage of the speech found them."""
    return Value(SPEECH, f"{kind}_splits")
