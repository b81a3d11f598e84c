"""What another tool's format cannot express is refused with the reason, before anything is written."""

import torch

from wav2vec2.checkpoints.checkpoint import Model
from wav2vec2.errors import UserError
from wav2vec2.model.encoder import Wav2Vec2Encoder
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.model.variants.variant import PROPOSED


def check_expressible(model: Model, target: object, tool: str, *, headless: bool, stacked_positions: bool) -> None:
    """Refuse a model whose numbers would change in ``tool``'s format.

    ``headless`` and ``stacked_positions`` say whether the tool has encoders without a head, and stacked positional
    convolutions.

    Raises:
        UserError: The message names the property and the remedy.
    """
    a = model.architecture
    if a.normalize_input and a.conv_norm == "group":
        raise UserError(
            f"{target}: the model says that its input is normalised, but {tool} has group-norm extractors with raw "
            "input only; if it was trained on raw audio (as fairseq's BASE models were), say --input raw"
        )
    kept = a.variant.inputs != "continuous"
    if kept or (a.variant != PROPOSED and isinstance(model, Wav2Vec2ForPretraining)):
        changed = ", ".join(f"{name} = {value}" for name, value in a.variant.differences().items())
        raise UserError(f"{target}: the model is a variant ({changed}) that {tool}'s format does not express here")
    if a.adapter_size:
        raise UserError(f"{target}: {tool} has no language adapters; write it with --to huggingface")
    if a.layer_norm_eps != 1e-5:
        raise UserError(f"{target}: layer_norm_eps is {a.layer_norm_eps}, {tool} has 1e-05; write --to huggingface")
    if a.pos_conv_depth > 1 and not stacked_positions:
        raise UserError(f"{target}: {tool} has one positional convolution, the model {a.pos_conv_depth}")
    if not headless and isinstance(model, Wav2Vec2Encoder):
        raise UserError(f"{target}: {tool} has no encoder without a head; the file had neither quantizer nor CTC head")


def identity_or_refuse(model: Model, target: object, tool: str) -> bool:
    """Whether the projection is left out: where both sizes agree ``tool`` has none, so it must be the identity.

    Raises:
        UserError: It is not.
    """
    a, projection = model.architecture, model.encoder.feature_projection
    if a.feature_size != a.hidden_size:
        return False
    eye = torch.eye(a.hidden_size, dtype=projection.weight.dtype)
    if not torch.equal(projection.weight.detach(), eye) or bool(projection.bias.detach().any()):
        raise UserError(
            f"{target}: {tool} has no projection where extractor and Transformer are both {a.hidden_size} wide, "
            "the model has one; write it with --to huggingface"
        )
    return True
