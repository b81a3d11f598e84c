"""Fine-tuning as experiments do it: the same for every arm but for where it starts."""

from collections.abc import Mapping
from typing import Any

from wav2vec2.experiment.steps import Steps, model_settings
from wav2vec2.pipeline.stage import Argument, Stage

SCRATCH_DROPOUTS = ("dropout", "attention_dropout", "activation_dropout", "input_dropout")


def fine_tuned(
    steps: Steps,
    name: str,
    title: str,
    recipe: str,
    settings: Mapping[str, Any],
    start: Argument | None,
    few: bool = False,
) -> Stage:
    """The stage ``name``. start: a pre-trained model, None from scratch: then everything is trained from the first
    update. few: whether from scratch takes the scale's dropout for few labels.
    """
    settings = {**settings, "init": "scratch" if start is None else start}
    if start is None:
        settings |= {"regularization.feature_grad_mult": 1.0, "freeze.share": 0.0, "freeze.updates": 0}
        settings |= model_settings(steps)
        if steps.scale.scratch_dropout is not None and few:
            settings |= {f"regularization.{place}": steps.scale.scratch_dropout for place in SCRATCH_DROPOUTS}
    return steps.training(name, "finetune", recipe, settings, title)
