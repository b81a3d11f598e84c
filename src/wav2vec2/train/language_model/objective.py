"""The objective of a Transformer language model: loss per token, validation by perplexity."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from wav2vec2.lm.transformer.model_directory import TokenVocabulary, save_language_model
from wav2vec2.lm.transformer.network import TransformerNetwork
from wav2vec2.model.randomness import Draw
from wav2vec2.train import distributed
from wav2vec2.train.language_model.token_batches import Sentences, TokenBatch, fixed_token_batches


class LanguageModelObjective:
    """Negative log likelihood per token, sentence ends included (implements ``train.objective.Objective``).

    Args:
        network: in training.
        vocabulary: its tokens.
        seed: of dropout.
        validation: held-out sentences.
        validation_words: number of words in them.
        micro_tokens: most padded tokens of a forward pass in validation.
    """

    def __init__(
        self,
        network: TransformerNetwork,
        vocabulary: TokenVocabulary,
        *,
        seed: int,
        validation: Sentences | None = None,
        validation_words: int = 0,
        micro_tokens: int = 0,
    ) -> None:
        self.model: nn.Module = network
        self.chance: float | None = math.log(len(vocabulary))
        self.judged, self.codebooks = "loss", (0, 0)
        self._network, self._vocabulary, self._seed = network, vocabulary, seed
        self._validation, self._words, self._micro = validation, validation_words, micro_tokens

    def trained(self, update: int) -> list[nn.Parameter]:
        """All parameters."""
        return list(self.model.parameters())

    def ready(self, batch: TokenBatch, update: int) -> TokenBatch:
        """The batch, or a stand-in. See ``Objective.ready``."""
        return batch if len(batch.rows) or not distributed.active() else batch.stand_in()

    def counts(self, batches: Sequence[TokenBatch], update: int) -> Tensor:
        """[predicted tokens]."""
        return torch.tensor([sum(int(batch.amount) for batch in batches if not batch.absent)], dtype=torch.float64)

    def loss(
        self, module: nn.Module, batch: TokenBatch, number: int, counts: Tensor, update: int
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """One micro-batch's share of the mean loss per token."""
        if not len(batch.rows):
            return None, {}
        weight = 0 if batch.absent else 1
        total = weight * module(batch.tokens, batch.lengths, Draw(self._seed, update, batch.rows)).sum()
        return total / counts[0].clamp_min(1).to(total.dtype), {"nats": total, "predicted": weight * batch.amount}

    def sums(self) -> dict[str, Tensor]:
        """A zero for each sum that ``loss`` returns, float64."""
        return {name: torch.zeros((), dtype=torch.float64) for name in ("nats", "predicted")}

    def numbers(self, sums: dict[str, Tensor], update: int) -> dict[str, float]:
        """Nats per token, and their exponential."""
        loss = float(sums["nats"] / sums["predicted"].clamp_min(1))
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}

    def describe(self, numbers: dict[str, float]) -> str:
        """The middle of a console line."""
        loss, chance = numbers["loss"], self.chance or 0.0
        return f"loss {loss:.3f} nats a token (chance {chance:.2f}), perplexity {numbers['perplexity']:.1f}"

    @torch.no_grad()
    def validate(self, module: nn.Module) -> dict[str, float] | None:
        """Perplexity of the held-out sentences, per token and per word (sentence ends count as words)."""
        if self._validation is None:
            return None
        device = next(self.model.parameters()).device
        rank, world = distributed.place()
        nats, tokens = 0.0, 0
        for batch in fixed_token_batches(self._validation, self._micro, rank=rank, world=world):
            if not len(batch.rows):
                absent = batch.to(device).stand_in()
                module(absent.tokens, absent.lengths)  # the other processes may need this one's weights
                continue
            there = batch.to(device)
            nats += float(module(there.tokens, there.lengths).double().sum())
            tokens += int(batch.amount)
        gathered = distributed.gather_objects((nats, tokens))
        nats, tokens = sum(one[0] for one in gathered), sum(one[1] for one in gathered)
        ends = len(self._validation)
        loss = nats / max(1, tokens)
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "word_perplexity": math.exp(min(nats / max(1, self._words + ends), 700.0)),
            "score": loss,
        }

    def remarks(self) -> list[str]:
        """None: the numbers say it all."""
        return []

    def export(self, model: nn.Module, directory: Path) -> None:
        """Write a model directory."""
        assert isinstance(model, TransformerNetwork)
        save_language_model(model, self._vocabulary, directory)
