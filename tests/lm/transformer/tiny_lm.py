"""A small random Transformer language model; imported by the tests of language models."""

import torch

from wav2vec2.lm.transformer.model import TransformerLM
from wav2vec2.lm.transformer.model_directory import END, UNKNOWN, TokenVocabulary, Unit
from wav2vec2.lm.transformer.network import LanguageModelDropout, LanguageModelSizes, TransformerNetwork

SIZES = LanguageModelSizes(hidden_size=16, layers=3, ffn_size=32, heads=2, cutoffs=(4, 7), cutoff_factor=2)
WORDS = ("THE", "A", "CAT", "SAT", "ON", "MAT", "DOG", "ABBA")


def network(size: int = len(WORDS) + 2, sizes: LanguageModelSizes = SIZES, drop: float = 0.0) -> TransformerNetwork:
    torch.manual_seed(4)
    made = TransformerNetwork(sizes, size, LanguageModelDropout(drop, drop, drop))
    for parameter in made.parameters():  # sharper than a fresh model, so that histories matter
        if parameter.dim() > 1:
            parameter.data.mul_(3)
    return made


def language_model(words: tuple[str, ...] = WORDS, unit: Unit = "words") -> TransformerLM:
    return TransformerLM(network(len(words) + 2), TokenVocabulary((END, UNKNOWN, *words), unit))


def uncached(lm: TransformerLM, sentence: list[int]) -> float:
    """ln P of a sentence in one forward pass over the whole of it."""
    tokens = torch.tensor([[0, *sentence, 0]])
    with torch.no_grad():
        return -float(lm.network(tokens, torch.tensor([len(sentence) + 1])).double().sum())
