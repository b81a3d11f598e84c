"""Whether the transcripts can be brought to one form, found out before the first training rather than after it."""

from wav2vec2.adapt.divide import TRAIN_FILE, TRANSCRIBED_FILE
from wav2vec2.adapt.options import AdaptOptions
from wav2vec2.adapt.plan import DIVIDE, FINETUNE, Adaptation
from wav2vec2.data.manifest import Manifest
from wav2vec2.errors import UserError
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
    config, folder = TextConfig(auto=True, language=options.language), plan.folder(DIVIDE)
    lines = normalization_of(config, Manifest.open(folder / TRAIN_FILE))[1]
    try:
        normalization_of(config, Manifest.open(folder / TRANSCRIBED_FILE))
    except UserError as error:  # of valid or test alone: a recogniser can be trained, and is judged too hard
        lines.append(f"text: numbers of valid and test will count as errors: {error}")
    return lines
