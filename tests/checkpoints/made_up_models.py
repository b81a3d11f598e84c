"""Models of every kind with settings unlike the defaults, and vocabularies as users have them."""

import torch
from tests.small_models import noise, perturbed

from wav2vec2.checkpoints.checkpoint import Model
from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.encoder import Wav2Vec2Encoder
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import Vocabulary

REGULARIZATION = Regularization(0.01, 0.02, 0.03, 0.04, 0.04, 0.06, 0.07, 0.08, 3.0, 0.3, 0.999)
MASKING = Masking(0.065, 10, 2, 0.0016, 64)
STANDARD = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", "a", "b", "c"))
# as users' fine-tuned models of transformers have it: the blank at the end, the unknown before it, no <s> or </s>
BLANK_LAST = Vocabulary(("a", "|", "b", "c", "[UNK]", "[PAD]"), blank=5, unknown=4)


def make(kind: str, architecture: Architecture, vocabulary: Vocabulary = STANDARD) -> Model:
    torch.manual_seed(0)
    model: Model
    if kind == "ctc":
        model = Wav2Vec2ForCTC(architecture, vocabulary, REGULARIZATION, MASKING)
    elif kind == "pretraining":
        model = Wav2Vec2ForPretraining(architecture, REGULARIZATION, MASKING)
    else:
        model = Wav2Vec2Encoder(architecture, REGULARIZATION, MASKING)
    perturbed(model, 0.1)
    if isinstance(model, Wav2Vec2ForCTC):
        with torch.no_grad():
            # every class wins somewhere, so that a swapped row shows in the text
            model.head.weight.mul_(20)
            logits = model(*noise(16_000, 16_000))[0]
            model.head.bias.sub_(logits.mean((0, 1)))
    return model
