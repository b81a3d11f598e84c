"""Product quantizer with Gumbel softmax (section 2, "Quantization module", equation 1) and its diversity loss (equation
4).

Legend: B utterances, M masked frames, C feature channels, G codebooks, V entries each, c channels of an entry.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.randomness import Draw, Purpose, uniform


@dataclass
class Choice:
    """``vectors`` (B, M, G * c) chosen entries side by side; ``codes`` (B, M, G); ``probabilities`` (B, M, G, V)
    without noise.
    """

    vectors: Tensor
    codes: Tensor
    probabilities: Tensor


@dataclass
class Quantized:
    """``targets`` (B, M, final) projected codewords; ``codes`` (B, M, G); ``probabilities`` (B, M, G, V) without
    noise.
    """

    targets: Tensor
    codes: Tensor
    probabilities: Tensor


class Codebooks(nn.Module):
    """Features (B, M, C) -> one entry from each of G codebooks."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.groups, self.entries = architecture.codebook_groups, architecture.codebook_entries
        self.noisy = architecture.variant.gumbel_noise
        size = architecture.feature_size
        self.logits: nn.Linear | nn.Sequential
        if architecture.variant.quantizer_depth == 1:
            self.logits = nn.Linear(size, self.groups * self.entries)
        else:
            self.logits = deep_logits(size, self.groups * self.entries, architecture.variant.quantizer_depth)
        self.codevectors = nn.Parameter(
            torch.empty(1, self.groups * self.entries, architecture.codevector_size // self.groups)
        )

    @torch.no_grad()
    def redraw(self) -> None:
        """Fresh codebooks: N(0, 1) logit weights (of a single layer; deeper ones as linear layers are), U(0, 1)
        entries.
        """
        if isinstance(self.logits, nn.Linear):
            nn.init.normal_(self.logits.weight)
            nn.init.zeros_(self.logits.bias)
        else:
            for layer in self.logits:
                if isinstance(layer, nn.Linear):
                    layer.reset_parameters()
        nn.init.uniform_(self.codevectors)

    def choose(
        self,
        features: Tensor,
        frames: Tensor,
        draw: Draw,
        temperature: float | Tensor | None,
        purpose: Purpose = Purpose.GUMBEL,
    ) -> Choice:
        """Straight-through Gumbel softmax in training, the best entry in evaluation; float32 throughout.

        ``frames`` (B, M) are the frames' places in their utterance: with ``draw`` they are the coordinates of the
        noise. ``temperature`` None chooses the best entry in training too, with a gradient to the entries alone.
        """
        logits = self.logits(features).unflatten(-1, (self.groups, self.entries))
        logits = logits if logits.dtype == torch.float64 else logits.float()
        probabilities = logits.softmax(-1)
        if self.training and temperature is not None:
            noise = self._noise(frames, logits, draw, purpose) if self.noisy else 0.0
            soft = ((logits + noise) / temperature).softmax(-1)
            codes = soft.argmax(-1)
            choice = torch.zeros_like(soft).scatter_(-1, codes[..., None], 1.0) + (soft - soft.detach())
        else:
            codes = logits.argmax(-1)
            choice = torch.zeros_like(logits).scatter_(-1, codes[..., None], 1.0)
        entries = self.codevectors.view(self.groups, self.entries, -1).to(choice.dtype)
        chosen = torch.einsum("bmgv,gvc->bmgc", choice, entries)
        return Choice(chosen.flatten(2), codes, probabilities)

    def _noise(self, frames: Tensor, logits: Tensor, draw: Draw, purpose: Purpose) -> Tensor:
        """Gumbel noise in the shape of ``logits``."""
        counters = frames[:, :, None] * (self.groups * self.entries)
        counters = counters + torch.arange(self.groups * self.entries, device=frames.device)
        return (-(-uniform(draw.words_at(purpose, counters), logits.dtype).log()).log()).view_as(logits)


class Quantizer(Codebooks):
    """Features (B, M, C) -> one entry from each of G codebooks, concatenated and projected."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.project = nn.Linear(architecture.codevector_size, architecture.final_size)
        self.glu = gated_unit(architecture)
        self.redraw()

    @torch.no_grad()
    def redraw(self) -> None:
        """Fresh codebooks and projection."""
        super().redraw()
        redraw_linear(self.project, self.glu)

    def forward(self, features: Tensor, frames: Tensor, draw: Draw, temperature: float | Tensor) -> Quantized:
        """Choose entries (see ``choose``) and project them."""
        choice = self.choose(features, frames, draw, temperature)
        return Quantized(self.glu(self.project(choice.vectors)), choice.codes, choice.probabilities)

    def embed(self, codes: Tensor) -> Tensor:
        """Entries of codes (..., G), projected: (..., final)."""
        return self.glu(self.project(entries_of(self.codevectors, codes)))  # type: ignore[no-any-return]


def entries_of(codevectors: Tensor, codes: Tensor) -> Tensor:
    """Look up codes (..., G) in (1, G * V, c) entries, side by side: (..., G * c)."""
    groups = codes.shape[-1]
    offsets = torch.arange(groups, device=codes.device) * (codevectors.shape[1] // groups)
    return codevectors[0][codes + offsets].flatten(-2)


def deep_logits(size: int, outputs: int, depth: int, widening: int = 3) -> nn.Sequential:
    """``depth`` linear layers with GELU between them, all but the last ``widening`` x ``size`` wide."""
    layers: list[nn.Module] = []
    for number in range(depth - 1):
        layers += [nn.Linear(size if number == 0 else size * widening, size * widening), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(size * widening, outputs))


def gated_unit(architecture: Architecture) -> nn.Module:
    """The gated linear unit over projected targets where the variant has one, else the identity."""
    if not architecture.variant.target_glu:
        return nn.Identity()
    return nn.Sequential(nn.Linear(architecture.final_size, 2 * architecture.final_size), nn.GLU())


def redraw_linear(*modules: nn.Module) -> None:
    """Draw every linear layer of ``modules`` anew."""
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()


def diversity_loss(mean_probabilities: Tensor) -> Tensor:
    """(GV - sum_g exp(H_g)) / GV of the batch-mean softmax (G, V): 0 when all entries are used equally (equation 4)."""
    total = mean_probabilities.numel()
    return (total - perplexity(mean_probabilities)) / total


def perplexity(mean_probabilities: Tensor) -> Tensor:
    """Sum over codebooks of exp(entropy); between G (one entry each) and G * V (all equally)."""
    entropy = -(mean_probabilities * (mean_probabilities + 1e-7).log()).sum(-1)
    return entropy.exp().sum()
