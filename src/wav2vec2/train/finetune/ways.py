"""Ways to fine-tune: which parameters of a model are trained, from everything down to a few small matrices."""

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Literal

import torch

from wav2vec2.config import option
from wav2vec2.errors import UserError, quoted
from wav2vec2.model.architecture import Architecture, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.variants.layers import LanguageAdapter

Way = Literal["everything", "context", "adapters", "lora"]

UNKNOWN_LANGUAGE = "und"
"""ISO 639-3 for a language that is not determined."""
_LOW_RATE = 2e-4
_LANGUAGE = re.compile(r"[A-Za-z0-9_-]{2,64}")


@dataclass(frozen=True)
class TuneConfig:
    """Which part of the model is trained. Less of it needs less memory, and is less likely to forget."""

    what: Literal["auto", "everything", "context", "adapters", "lora"] = "auto"
    """everything: all weights. context: all but the feature encoder, the convolutions over the waveform, as in the
    paper. adapters: small new layers, one at the end of each Transformer block, and the output layer, as MMS has them
    for each language: about 2 million weights. lora: a small matrix product beside every matrix of the Transformer
    blocks, and the output layer; when the model is written, the products are added to the matrices. auto: what
    regularization.feature_grad_mult says (0: context, else everything), or with --memory what fits."""
    language: str = ""
    """Name of the language, which adapters are saved under: best its ISO 639-3 code, such as swh. Empty: the language
    that the manifest names, or und (undetermined)."""
    adapter_size: int = option(16, low=1)
    """adapters: width of the new layers. 16, as in MMS, is 2.1 million weights for 1b."""
    lora_rank: int = option(16, low=1)
    """lora: rank of the products. Twice the rank is twice the weights to train."""
    lora_alpha: float = option(32.0, above=0.0)
    """lora: the products are multiplied by this and divided by the rank."""

    def way(self, regularization: Regularization) -> Way:
        """The way that was asked for, or with "auto" the one that the gradient into the feature encoder implies."""
        if self.what != "auto":
            return self.what
        return "context" if regularization.feature_grad_mult == 0.0 else "everything"


def tuned_regularization(way: Way, regularization: Regularization) -> Regularization:
    """The regularisation with the gradient into the feature encoder that a way needs."""
    factor = regularization.feature_grad_mult
    if way == "everything":
        return replace(regularization, feature_grad_mult=factor or 1.0)
    return replace(regularization, feature_grad_mult=0.0)


def with_adapters(architecture: Architecture, size: int) -> Architecture:
    """The architecture with adapters of its own size, or of ``size`` where it has none.

    Raises:
        UserError: the architecture is of the family that has no adapters in transformers.
    """
    if not architecture.layer_norm_first:
        raise UserError(
            "tune.what = adapters: adapters are for models whose layer norms come first (large_lv60k, XLS-R, MMS), and "
            f"{architecture.name} is of the other family; use --tune.what lora, or context"
        )
    return architecture if architecture.adapter_size else replace(architecture, adapter_size=size)


def freeze(model: Wav2Vec2ForCTC, way: Way) -> list[str]:
    """Leave gradients to the parameters that a way trains, and return lines that say what is frozen."""
    if way == "everything":
        return []
    if way == "context":
        for parameter in model.encoder.feature_encoder.parameters():
            parameter.requires_grad_(False)
        return ["the feature encoder is frozen (tune.what = context)"]
    if way == "adapters":
        model.encoder.requires_grad_(False)
        for module in model.encoder.modules():
            if isinstance(module, LanguageAdapter):
                module.requires_grad_(True)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    every = sum(parameter.numel() for parameter in model.parameters())
    return [f"trained: {trained / 1e6:.2f} M of {every / 1e6:.1f} M weights (tune.what = {way})"]


def rate_lines(way: Way, lr: float) -> list[str]:
    """A line if the learning rate is one for all weights, with which a few new ones would hardly move."""
    if way not in ("adapters", "lora") or lr >= _LOW_RATE:
        return []
    return [
        f"train.lr = {lr:g} is low for {way}, whose weights are new: transformers' guide to the adapters of MMS has "
        "1e-3, and no LayerDrop (--train.lr 1e-3 --regularization.layerdrop 0)"
    ]


def fixed_parameters(model: Wav2Vec2ForCTC, way: Way) -> tuple[frozenset[str], str]:
    """Names of the many parameters that adapters and LoRA leave as they are, and a hash of their values.

    Checkpoints need not hold them. Other ways have none: what they freeze is small beside the rest.
    """
    if way not in ("adapters", "lora"):
        return frozenset(), ""
    values = {name: parameter for name, parameter in model.named_parameters() if not parameter.requires_grad}
    sums = [(name, float(value.detach().sum(dtype=torch.float64))) for name, value in values.items()]
    return frozenset(values), hashlib.sha256(repr(sums).encode()).hexdigest()[:16]


def language_name(given: str, found: list[str]) -> str:
    """The name of the language: the given one, or the only one that the manifest names, or und.

    Raises:
        UserError: the given name cannot be part of a file's name.
    """
    if given and not _LANGUAGE.fullmatch(given):
        raise UserError(f"tune.language is {quoted(given)}: give a code such as swh, of letters, digits, - and _")
    if given:
        return given
    names = [name for name in found if _LANGUAGE.fullmatch(name)]
    return names[0] if len(found) == len(names) == 1 else UNKNOWN_LANGUAGE
