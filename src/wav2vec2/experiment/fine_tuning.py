"""Fine-tuning as experiments do it: the same for every arm but for where it starts, in two stages at small scale."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wav2vec2.experiment.recipe import Training
from wav2vec2.experiment.stage import Argument, Ref, Stage, Value
from wav2vec2.experiment.steps import Steps, model_settings

SCRATCH_DROPOUTS = ("dropout", "attention_dropout", "activation_dropout", "input_dropout")


@dataclass(frozen=True)
class FineTuning:
    """One model to fine-tune. name: of the last stage. start: a pre-trained model, None from scratch. short: seconds up
    to which an utterance belongs to the first stage of the curriculum. few: whether from scratch needs more dropout.
    """

    name: str
    title: str
    recipe: str
    settings: Mapping[str, Any]
    start: Argument | None
    short: Value | None = None
    few: bool = False

    def stages(self, steps: Steps) -> list[Stage]:
        """The training, in two stages where the scale has a curriculum: short utterances, then all.

        Both together take the recipe's updates.
        """
        scale, settings = steps.scale, dict(self.settings)
        if self.start is None:
            settings |= {"regularization.feature_grad_mult": 1.0, "freeze.share": 0.0, "freeze.updates": 0}
            settings |= model_settings(steps)
            if scale.scratch_dropout is not None and self.few:
                settings |= {f"regularization.{place}": scale.scratch_dropout for place in SCRATCH_DROPOUTS}
        start = "scratch" if self.start is None else self.start
        whole = steps.training(self.name, "finetune", self.recipe, settings | {"init": start}, self.title)
        if not scale.short_share or self.short is None:
            return [whole]
        assert isinstance(whole.work, Training)
        total = whole.work.config().train.updates / steps.options.updates_scale
        short = max(1, round(total * scale.short_share))
        first = {**settings, "init": start, "train.updates": short, "batch.max_seconds": self.short}
        if self.start is not None:
            first["freeze.share"] = round(scale.frozen_share / scale.short_share, 4)
        second = {**settings, "init": Ref(f"short-{self.name}"), "train.updates": max(1, round(total) - short)}
        second |= {"freeze.share": 0.0, "freeze.updates": 0}
        titles = (f"{self.title}: short utterances", f"{self.title}: all its utterances")
        return [
            steps.training(f"short-{self.name}", "finetune", self.recipe, first, titles[0]),
            steps.training(self.name, "finetune", self.recipe, second, titles[1]),
        ]
