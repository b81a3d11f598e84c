"""Whether the transcripts can be brought to one form, found out before the first training rather than after it."""

from wav2vec2.adapt.divide import TRAIN_FILE
from wav2vec2.adapt.options import AdaptOptions
from wav2vec2.adapt.plan import DIVIDE, FINETUNE, Adaptation
from wav2vec2.data.manifest import Manifest
from wav2vec2.train.finetune.text import TextConfig, normalization_of


def spelling(options: AdaptOptions, adaptation: Adaptation) -> list[str]:
    """Say how the transcripts will be written; nothing where the user has set that by hand, or has trained already.

    Raises:
        UserError: numbers in digits cannot be spelled in the language.
    """
    plan = adaptation.plan
    stages = [stage.name for stage in plan.stages if stage.name.startswith(FINETUNE)]
    by_hand = any(key.startswith("text.") for name in stages for key in options.changes(name))
    if by_hand or any(map(plan.done, stages)):
        return []
    manifest = Manifest.open(plan.folder(DIVIDE) / TRAIN_FILE)
    return normalization_of(TextConfig(auto=True, language=options.language), manifest)[1]
