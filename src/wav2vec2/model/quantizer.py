"""Quantization module (section 2, equation 1), a product quantizer with a Gumbel softmax; diversity loss (equation 4).

Legend: B utterances, M masked frames, C feature channels, G codebooks, V entries each, c channels of an entry.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.precision import full_precision
from wav2vec2.model.randomness import Draw, Purpose, uniform
from wav2vec2.model.variants.layers import gated_unit, logit_layers, reset_linear


@dataclass
class Quantized:
    """Result of quantization. ``vectors`` (B, M, D) are the chosen entries of all codebooks side by side, or their
    projections; ``codes`` (B, M, G) the entries' numbers; ``probabilities`` (B, M, G, V) the softmax without noise.
    """

    vectors: Tensor
    codes: Tensor
    probabilities: Tensor


class Codebooks(nn.Module):
    """Features (B, M, C) -> one entry of each of G codebooks; an ``empty`` one has no parameters of its own."""

    def __init__(self, architecture: Architecture, *, empty: bool = False) -> None:
        super().__init__()
        self.groups, self.entries = architecture.codebook_groups, architecture.codebook_entries
        self.noisy = architecture.variant.gumbel_noise
        if empty:
            return
        size, outputs = architecture.feature_size, self.groups * self.entries
        self.logits = logit_layers(size, outputs, architecture.variant.quantizer_depth)
        self.codevectors = nn.Parameter(torch.empty(1, outputs, architecture.codevector_size // self.groups))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initial values: U(0, 1) entries, and N(0, 1) weights of the layer that gives the logits."""
        if isinstance(self.logits, nn.Linear):
            nn.init.normal_(self.logits.weight)
            nn.init.zeros_(self.logits.bias)
        else:
            reset_linear(self.logits)
        nn.init.uniform_(self.codevectors)

    def choose(
        self,
        features: Tensor,
        places: Tensor,
        draw: Draw,
        temperature: float | Tensor | None,
        purpose: Purpose = Purpose.GUMBEL,
    ) -> Quantized:
        """Choose by equation 1, straight through, in training, and the best entries in evaluation.

        Computed in float32 or float64. ``places`` (B, M) are the frames' places in their utterance; with ``draw`` they
        are the coordinates of the noise. ``temperature`` None takes the best entries in training too; the gradient then
        reaches the entries, but not the logits.
        """
        logits = self.logits(features).unflatten(-1, (self.groups, self.entries))
        logits = logits if logits.dtype == torch.float64 else logits.float()
        with full_precision(logits):
            return self._choose(logits, places, draw, temperature, purpose)

    def _choose(
        self, logits: Tensor, places: Tensor, draw: Draw, temperature: float | Tensor | None, purpose: Purpose
    ) -> Quantized:
        probabilities = logits.softmax(-1)
        if self.training and temperature is not None:
            noise = self._noise(places, logits, draw, purpose) if self.noisy else 0.0
            soft = ((logits + noise) / temperature).softmax(-1)
            codes = soft.argmax(-1)
            choice = torch.zeros_like(soft).scatter_(-1, codes[..., None], 1.0) + (soft - soft.detach())
        else:
            codes = logits.argmax(-1)
            choice = torch.zeros_like(logits).scatter_(-1, codes[..., None], 1.0)
        entries = self.codevectors.view(self.groups, self.entries, -1).to(choice.dtype)
        chosen = torch.einsum("bmgv,gvc->bmgc", choice, entries)
        return Quantized(chosen.flatten(2), codes, probabilities)

    def _noise(self, places: Tensor, logits: Tensor, draw: Draw, purpose: Purpose) -> Tensor:
        """Gumbel noise in the shape of ``logits``."""
        counters = places[:, :, None] * (self.groups * self.entries)
        counters = counters + torch.arange(self.groups * self.entries, device=places.device)
        return (-(-uniform(draw.words_at(purpose, counters), logits.dtype).log()).log()).view_as(logits)


class Quantizer(Codebooks):
    """Features (B, M, C) -> one entry of each codebook, side by side and projected: q in the paper.

    ``shared`` are another module's codebooks, used instead of own ones (a variant of Table 4).
    """

    def __init__(self, architecture: Architecture, shared: Codebooks | None = None) -> None:
        super().__init__(architecture, empty=shared is not None)
        self._shared = () if shared is None else (shared,)  # a tuple, so that it is no submodule: its owner trains it
        self.project = nn.Linear(architecture.codevector_size, architecture.final_size)
        self.glu = gated_unit(architecture.final_size, architecture.variant.target_glu)
        if shared is None:
            self.reset_parameters()

    @property
    def codebooks(self) -> Codebooks:
        """The module that holds the entries."""
        return self._shared[0] if self._shared else self

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initial values of the codebooks and the projection."""
        super().reset_parameters()
        reset_linear(self.project, self.glu)

    def forward(self, features: Tensor, places: Tensor, draw: Draw, temperature: float | Tensor) -> Quantized:
        """Choose entries (see ``choose``) and project them to (B, M, final)."""
        chosen = self.codebooks.choose(features, places, draw, temperature)
        return Quantized(self.glu(self.project(chosen.vectors)), chosen.codes, chosen.probabilities)

    def embed(self, codes: Tensor) -> Tensor:
        """Entries of codes (..., G), projected: (..., final)."""
        return self.glu(self.project(entries_of(self.codebooks.codevectors, codes)))  # type: ignore[no-any-return]


def entries_of(codevectors: Tensor, codes: Tensor) -> Tensor:
    """Look up codes (..., G) in (1, G * V, c) entries, side by side: (..., G * c)."""
    groups = codes.shape[-1]
    offsets = torch.arange(groups, device=codes.device) * (codevectors.shape[1] // groups)
    return codevectors[0][codes + offsets].flatten(-2)


def diversity_loss(mean_probabilities: Tensor) -> Tensor:
    """Equation 4 in the form (GV - sum_g exp(H_g)) / GV, for the batch mean (G, V) of the softmax.

    It is 0 when all entries are used equally.
    """
    total = mean_probabilities.numel()
    return (total - perplexity(mean_probabilities)) / total


def perplexity(mean_probabilities: Tensor) -> Tensor:
    """Sum over codebooks of exp(entropy): from G (one entry of each is used) to G * V (all are used equally)."""
    entropy = -(mean_probabilities * (mean_probabilities + 1e-7).log()).sum(-1)
    return entropy.exp().sum()
