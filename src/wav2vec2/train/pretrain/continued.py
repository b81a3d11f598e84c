"""Pre-training that continues an earlier model: all of it, or its encoder beneath a new task.

The new task is that of the recipe (its variant, units and codebooks), so that every target of table 4 can be learned
from the same trained encoder.
"""

from dataclasses import replace

from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.encoder import SharedEncoder
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.model.variants.variant import PROPOSED, Variant
from wav2vec2.train.pretrain.fixed_units import UnitsConfig, fix_entries, with_units

_HEAD = ("codebook_groups", "codebook_entries", "codevector_size", "final_size", "negatives", "logit_temperature")
_INPUT = ("feature_projection.", "input_quantizer.")


def continued(
    source: str, variant: Variant, regularization: Regularization, masking: Masking
) -> tuple[Wav2Vec2ForPretraining, str]:
    """A model with all weights of ``source``, and what became of the quantizer: a recogniser has none to keep.

    Raises:
        UserError: ``source`` cannot be read, or is another variant than the recipe asks for.
    """
    loaded = _load(source)
    if variant not in (PROPOSED, loaded.architecture.variant):
        raise UserError(
            f"init: {source} is another variant than the variant section asks for; leave that out, or draw new targets "
            "with init_quantizer = redraw"
        )
    model = Wav2Vec2ForPretraining(loaded.architecture, regularization, masking)
    if isinstance(loaded, Wav2Vec2ForPretraining):
        model.load_state_dict(loaded.state_dict())
        return model, "quantizer kept"
    model.encoder.load_state_dict(loaded.encoder.state_dict())
    return model, "a recogniser: quantizer drawn anew"


def with_new_targets(
    source: str, head: Architecture, units: UnitsConfig, regularization: Regularization, masking: Masking
) -> tuple[Wav2Vec2ForPretraining, str]:
    """A model with the encoder of ``source`` alone; variant, codebooks and projections are new and those of ``head``.

    The layer that projects the Transformer's input is new too where that input is another one (``variant.inputs``).

    Raises:
        UserError: ``source`` cannot be read, or its frames do not fit to the units.
    """
    loaded = _load(source)
    sizes = {name: getattr(head, name) for name in _HEAD}
    try:
        architecture = replace(loaded.architecture, variant=head.variant, **sizes)
    except ValueError as error:
        raise UserError(f"model: {error}; change these keys of the recipe") from None
    model = Wav2Vec2ForPretraining(with_units(units, architecture), regularization, masking)
    old, new = loaded.encoder.state_dict(), model.encoder.state_dict()
    same_inputs = head.variant.inputs == loaded.architecture.variant.inputs
    if not same_inputs or any(old[name].shape != new[name].shape for name in old):
        old = {name: value for name, value in old.items() if not name.startswith(_INPUT)}
    model.encoder.load_state_dict({**new, **old})
    drawn = "quantizer drawn anew"
    if not any(name.startswith(_INPUT) for name in old):
        drawn = "quantizer and feature projection drawn anew"
    elif head.variant.input_quantizer == "shared":  # the codebooks belong to the encoder
        drawn = "codebooks, which the inputs share, kept; projections drawn anew"
    if units.given:
        drawn += f"; units: {fix_entries(units, model)}"
    return model, drawn


def _load(source: str) -> SharedEncoder:
    from wav2vec2.checkpoints.load import load

    return load(source)
