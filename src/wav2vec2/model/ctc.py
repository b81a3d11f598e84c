"""Fine-tuned model (section 3.3): a linear layer over the context vectors, trained with CTC.

Legend: B utterances, S samples, T frames, V symbols, L labels.
"""

import itertools
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.cpu.dropout import dropout
from wav2vec2.model.encoder import SharedEncoder, check_lengths, obeying_autocast
from wav2vec2.model.randomness import Draw
from wav2vec2.model.window_moments import WindowMoments
from wav2vec2.text.vocabulary import Vocabulary


class Wav2Vec2ForCTC(SharedEncoder):
    """Audio to logits over the symbols of a vocabulary: the fine-tuned model (section 3.3).

    ``vocabulary`` belongs to the weights: it is saved and loaded with them. If the symbols are not known, pass their
    number instead, and ``blank``, the class of the CTC blank; the attribute ``vocabulary`` is then None.

    ``longest_heard`` belongs to the weights too: the length in seconds that 95 % of the training utterances did not
    exceed; None if it is not known. So does ``language``, the name of the language that the adapters are for; None
    without a name, or without adapters.
    """

    def __init__(
        self,
        architecture: Architecture,
        vocabulary: Vocabulary | int,
        regularization: Regularization | None = None,
        masking: Masking | None = None,
        *,
        blank: int = 0,
    ) -> None:
        super().__init__(architecture, regularization, masking)
        self.vocabulary: Vocabulary | None = vocabulary if isinstance(vocabulary, Vocabulary) else None
        self._blank = blank
        self.longest_heard: float | None = None
        self.language: str | None = None
        self.head = nn.Linear(architecture.hidden_size, vocabulary if isinstance(vocabulary, int) else len(vocabulary))
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def blank(self) -> int:
        """The class of the CTC blank."""
        return self._blank if self.vocabulary is None else self.vocabulary.blank

    @obeying_autocast
    def forward(
        self,
        waveforms: Tensor,
        lengths: Tensor | None = None,
        *,
        draw: Draw | None = None,
        train_encoder: bool = True,
        moments: Sequence[WindowMoments] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(B, S) audio -> logits (B, T, V) and frame lengths (B,).

        In training mode frames and channels are masked. ``draw`` determines everything random; None stands for the
        first step with seed 0. With ``train_encoder`` False only the head gets gradients, as in the first updates of
        fine-tuning. ``moments``, one for each row, are the statistics of the group norm where the rows are parts of
        something longer (see `FeatureEncoder`); they are for inference.
        """
        full, lengths = lengths is None, check_lengths(waveforms, lengths)
        if not self.training:
            draw = None
        elif draw is None:
            draw = Draw.first(len(lengths), lengths.device)
        with nullcontext() if train_encoder else torch.no_grad():
            features = self.encoder.features(waveforms, lengths, draw, full=full, moments=moments)
            frame_lengths = self.frame_lengths(lengths)
            masks = None
            if draw is not None and self.masking.time_start > 0.0:
                masks = self.encoder.draw_time_masks(frame_lengths, features.layout.frames, draw)
            context = self.encoder.context_vectors(features, masks, draw)
        context = dropout(context, self.regularization.final_dropout if self.training else 0.0, features.keys)
        return features.layout.pad(self.head(context)), frame_lengths


def ctc_loss(logits: Tensor, frame_lengths: Tensor, targets: Tensor, target_lengths: Tensor, blank: int = 0) -> Tensor:
    """Negative log-likelihood (B,) in nats of ``targets`` (B, L); 0 where the frames are too few for the labels.

    Lengths (B,) should be on the host: from an accelerator, PyTorch would fetch them, and wait for all that is queued.
    Computed in float32 or float64, by PyTorch's own kernel: cuDNN's kernel treats impossible targets differently.
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    log_probs = wide.log_softmax(-1).transpose(0, 1)
    with torch.backends.cudnn.flags(enabled=False):
        return F.ctc_loss(
            log_probs, targets, frame_lengths, target_lengths, blank=blank, reduction="none", zero_infinity=True
        )


def can_align(frames: int, labels: Sequence[int]) -> bool:
    """Whether CTC can align ``labels`` to this number of frames: two equal neighbours need a blank between them."""
    repeats = sum(a == b for a, b in itertools.pairwise(labels))
    return frames >= len(labels) + repeats
