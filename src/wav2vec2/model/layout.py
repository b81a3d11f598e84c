"""Layouts of the frames of a batch in memory.

- **padded** (B, T, C): one row for each utterance; for accelerators and ``torch.compile``, where fixed shapes pay.
- **packed** (N, C): the frames of the utterances one after another, without padding; for eager CPU, where a padded
  frame costs as much as any other, and where the work on one utterance stays in the cache.

Operations on single frames (linear layers, norms, dropout) take either layout. Only convolutions and attention have to
distinguish them.

Legend: B utterances, T frames of the longest, N = sum of all frames, C channels.
"""

from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packed:
    """Frames of utterance i are rows ``slices[i]`` of an (N, C) tensor."""

    lengths: tuple[int, ...]

    @property
    def slices(self) -> list[slice]:
        """The rows of each utterance."""
        return [slice(a, b) for a, b in pairwise(accumulate(self.lengths, initial=0))]

    @property
    def frames(self) -> int:
        """Frames of the longest utterance."""
        return max(self.lengths, default=0)

    def pad(self, x: Tensor) -> Tensor:
        """(N, C) -> (B, T, C), zero beyond each utterance's end."""
        if len(set(self.lengths)) == 1:
            return x.view(len(self.lengths), self.lengths[0], *x.shape[1:])
        return torch.nn.utils.rnn.pad_sequence(list(x.split(self.lengths)), batch_first=True)

    def pack(self, x: Tensor) -> Tensor:
        """(B, T, ...) -> (N, ...)."""
        if len(set(self.lengths)) == 1:
            return x.reshape(-1, *x.shape[2:])
        return torch.cat([row[:length] for row, length in zip(x, self.lengths, strict=True)])

    def row_starts(self, device: torch.device) -> Tensor:
        """(B,) index of each utterance's first frame among all frames."""
        return torch.tensor([s.start for s in self.slices], device=device)


@dataclass(frozen=True)
class Padded:
    """Frames of utterance i are ``x[i, :lengths[i]]``; ``valid`` is (B, T)."""

    lengths: Tensor
    frames: int
    full: bool = False
    """Whether nothing is padded, so that no mask is needed."""

    @property
    def valid(self) -> Tensor:
        """(B, T) bool, True on real frames."""
        return torch.arange(self.frames, device=self.lengths.device) < self.lengths[:, None]

    def pad(self, x: Tensor) -> Tensor:
        """Return x (B, T, C) as it is."""
        return x

    def pack(self, x: Tensor) -> Tensor:
        """Return x (B, T, ...) as it is: in this layout frames stay padded."""
        return x

    def row_starts(self, device: torch.device) -> Tensor:
        """(B,) index of each utterance's first frame among all frames."""
        return torch.arange(len(self.lengths), device=device) * self.frames


Layout = Packed | Padded
