"""Product quantizer with Gumbel softmax (section 2, "Quantization module", equation 1) and its diversity loss (equation
4).

Legend: B utterances, M masked frames, C feature channels, G codebooks, V entries each, c channels of an entry.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.counter_hash import Purpose, hash_tensor, uniform


@dataclass
class Quantized:
    """``targets`` (B, M, final) projected codewords; ``codes`` (B, M, G); ``probabilities`` (B, M, G, V) without
    noise.
    """

    targets: Tensor
    codes: Tensor
    probabilities: Tensor


class Quantizer(nn.Module):
    """Features (B, M, C) -> one entry from each of G codebooks, concatenated and projected."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.groups, self.entries = architecture.codebook_groups, architecture.codebook_entries
        self.logits = nn.Linear(architecture.feature_size, self.groups * self.entries)
        size = architecture.codevector_size // self.groups
        self.codevectors = nn.Parameter(torch.empty(1, self.groups * self.entries, size))
        self.project = nn.Linear(architecture.codevector_size, architecture.final_size)
        self.redraw()

    @torch.no_grad()
    def redraw(self) -> None:
        """Fresh codebooks: N(0, 1) logit weights, U(0, 1) entries."""
        nn.init.normal_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)
        nn.init.uniform_(self.codevectors)
        self.project.reset_parameters()

    def forward(
        self,
        features: Tensor,
        frames: Tensor,
        *,
        seed: int,
        step: int | Tensor,
        rows: Tensor,
        temperature: float | Tensor,
    ) -> Quantized:
        """Straight-through Gumbel softmax in training, the best entry in evaluation; float32 throughout.

        ``frames`` (B, M) are the frames' places in their utterance and ``rows`` (B,) the utterances' places in
        the global batch: with (seed, step) they are the coordinates of the noise.
        """
        logits = self.logits(features).unflatten(-1, (self.groups, self.entries))
        logits = logits if logits.dtype == torch.float64 else logits.float()
        probabilities = logits.softmax(-1)
        if self.training:
            counters = frames[:, :, None] * (self.groups * self.entries)
            counters = counters + torch.arange(self.groups * self.entries, device=frames.device)
            words = hash_tensor(seed, Purpose.GUMBEL, step, rows[:, None, None], counters)
            gumbel = -(-uniform(words, logits.dtype).log()).log()
            soft = ((logits + gumbel.view_as(logits)) / temperature).softmax(-1)
            codes = soft.argmax(-1)
            choice = torch.zeros_like(soft).scatter_(-1, codes[..., None], 1.0) + (soft - soft.detach())
        else:
            codes = logits.argmax(-1)
            choice = torch.zeros_like(logits).scatter_(-1, codes[..., None], 1.0)
        entries = self.codevectors.view(self.groups, self.entries, -1).to(choice.dtype)
        chosen = torch.einsum("bmgv,gvc->bmgc", choice, entries)
        return Quantized(self.project(chosen.flatten(2)), codes, probabilities)


def diversity_loss(mean_probabilities: Tensor) -> Tensor:
    """(GV - sum_g exp(H_g)) / GV of the batch-mean softmax (G, V): 0 when all entries are used equally (equation 4)."""
    total = mean_probabilities.numel()
    return (total - perplexity(mean_probabilities)) / total


def perplexity(mean_probabilities: Tensor) -> Tensor:
    """Sum over codebooks of exp(entropy); between G (one entry each) and G * V (all equally)."""
    entropy = -(mean_probabilities * (mean_probabilities + 1e-7).log()).sum(-1)
    return entropy.exp().sum()
