"""``wav2vec2 adapt choose``: numbers of updates and the like, from divided recordings, an encoder and this machine."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from wav2vec2.adapt.choice import Facts, PretrainWhen, Wishes, choose
from wav2vec2.adapt.options import SCRATCH
from wav2vec2.adapt.plateau import Way
from wav2vec2.checkpoints.load import describe
from wav2vec2.device import usable_device
from wav2vec2.errors import UserError
from wav2vec2.input_file import parse_json, read_input
from wav2vec2.model.architecture import ARCHITECTURES, Architecture
from wav2vec2.pipeline.stage import write_values
from wav2vec2.train.read_workers import heard_at_most

NEW_ENCODER = "small"
"""The architecture of an encoder from nothing."""
_REACHED = 0.6  # of what a processor reaches in plain products, by a whole training


@dataclass(frozen=True)
class ChooseOptions:
    """Choose how to train from hours of speech, encoder and machine, and say why. A stage of 'wav2vec2 adapt'."""

    facts: Annotated[Path, Positional, arg(metavar="DIVIDED/values.json")]
    """What 'wav2vec2 adapt divide' found."""
    source: Annotated[str, arg(name="from", metavar="MODEL")] = SCRATCH
    """The encoder to start from, or scratch."""
    out: Path = Path("chosen")
    """Folder for values.json."""
    pretrain: PretrainWhen = "auto"
    """Whether to continue pre-training on the untranscribed speech."""
    self_training: int = 0
    """Rounds of self-training."""
    hours: float = 12.0
    """Most time for all training."""
    updates: int = 0
    """Updates of fine-tuning; 0: choose."""
    pretrain_updates: int = 0
    """Updates of pre-training; 0: choose."""
    way: Way = "auto"
    """What is fine-tuned; as for 'wav2vec2 adapt'."""
    device: str = "auto"
    """Device that will train."""


def run(options: ChooseOptions) -> None:
    """Choose, write values.json and print why. Raises UserError if a file or the encoder cannot be read."""
    try:
        found = parse_json(read_input(options.facts))
        labels, untranscribed = float(found["train_seconds"]), float(found["untranscribed_seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{options.facts}: is not what 'wav2vec2 adapt divide' writes; run that first") from None
    new = options.source == SCRATCH
    start = None if new else describe(options.source)
    architecture = ARCHITECTURES[NEW_ENCODER] if start is None else start.architecture
    device = usable_device(options.device)
    facts = Facts(
        labels=labels,
        untranscribed=untranscribed,
        from_nothing=new,
        parameters=_parameters(architecture),
        accelerated=device.type != "cpu",
        trained=_REACHED * heard_at_most(architecture, "finetune", device),
        continued=_REACHED * heard_at_most(architecture, "pretrain", device),
        writes=start is not None and start.kind == "ctc",
    )
    wishes = Wishes(
        options.updates, options.pretrain_updates, options.pretrain, options.hours, options.self_training, options.way
    )
    choice = choose(facts, wishes)
    write_values(options.out, choice.values() | {"encoder": dataclasses.asdict(facts) | {"name": architecture.name}})
    print("\n".join(choice.lines))


def _parameters(architecture: Architecture) -> int:
    """Parameters of the Transformer and the convolutions; biases and norms, below one per cent, are left out."""
    width, channels = architecture.hidden_size, (1, *architecture.conv_channels)
    blocks = architecture.layers * (4 * width**2 + 2 * width * architecture.ffn_size)
    convolutions = sum(
        channels[layer] * channels[layer + 1] * kernel for layer, kernel in enumerate(architecture.conv_kernels)
    )
    positions = width * width // architecture.pos_conv_groups * architecture.pos_conv_kernel
    return blocks + convolutions + positions + channels[-1] * width
