"""Random models of both families, theirs and ours, and what it means that they agree."""

from dataclasses import replace

import pytest
import torch
from tests.parity.closeness import assert_close
from tests.small_models import FAMILIES as OURS
from tests.small_models import noise
from torch import Tensor

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining

transformers = pytest.importorskip("transformers")

SHAPE = {
    "conv_dim": [32] * 7,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "num_codevectors_per_group": 12,
    "codevector_dim": 16,
    "proj_codevector_dim": 16,
    "num_negatives": 10,
    "vocab_size": 32,
}
FAMILIES = {
    "group": {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False},
    "layer": {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
    "group with bias, pre-LN": {"feat_extract_norm": "group", "do_stable_layer_norm": True, "conv_bias": True},
}
SYMBOLS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")


def build(kind: str, family: str, **changes: object) -> "transformers.PreTrainedModel":
    """A random model of theirs in which no bias or gain sits at its trivial start."""
    torch.manual_seed(0)
    classes = {"pretraining": transformers.Wav2Vec2ForPreTraining, "ctc": transformers.Wav2Vec2ForCTC}
    model = classes[kind](transformers.Wav2Vec2Config(**{**SHAPE, **FAMILIES[family], **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def hidden_states(model: Wav2Vec2ForPretraining | Wav2Vec2ForCTC, *batch: Tensor) -> list[Tensor]:
    """The input of the first block, the output of each but the last, and the context vectors after the final norm."""
    layers = [model.encode(*batch, layer=layer)[0] for layer in range(model.architecture.layers)]
    return [*layers, model.encode(*batch)[0]]


def their_hidden_states(model: "transformers.PreTrainedModel", *batch: Tensor | None) -> list[Tensor]:
    """The same; transformers' versions differ in whether their last hidden state is before or after the final norm."""
    output = model.wav2vec2(*batch, output_hidden_states=True)
    return [*output.hidden_states[:-1], output.last_hidden_state]


def compare(theirs: "transformers.PreTrainedModel", ours: Wav2Vec2ForCTC, tolerance: float, padded: bool) -> None:
    waveforms, lengths = noise(6000, 4100) if padded else noise(6000, 6000)
    waveforms = waveforms.to(next(theirs.parameters()).dtype)
    attention = (torch.arange(waveforms.shape[1]) < lengths[:, None]).long() if padded else None
    with torch.no_grad():
        their_logits = theirs(waveforms, attention_mask=attention).logits
        their_hidden = their_hidden_states(theirs, waveforms, attention)
        hidden = hidden_states(ours, waveforms, lengths)
        logits, frame_lengths = ours(waveforms, lengths)
    assert len(hidden) == len(their_hidden)
    for row, frames in enumerate(frame_lengths.tolist()):
        for layer, (mine, other) in enumerate(zip(hidden, their_hidden, strict=True)):
            assert_close(mine[row, :frames], other[row, :frames], tolerance, f"row {row} hidden state {layer}")
        assert_close(logits[row, :frames], their_logits[row, :frames], tolerance, f"row {row} logits")


def tiny(family: str) -> Architecture:
    """A small architecture of ours, with convolutions of different widths."""
    return replace(OURS[family], conv_channels=(16, 24, 24, 32, 32, 32, 32))
