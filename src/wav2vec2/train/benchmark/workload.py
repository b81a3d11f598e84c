"""What is measured: a model, a task, a device, and the audio of each step. Plain values, to be sent to a process."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.flops import Task
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.train.options import TrainConfig
from wav2vec2.train.pretrain.objective import LossConfig

Waveforms = Sequence[npt.NDArray[np.float32]]

LETTERS = "ETAOINSHRDLU CMWFGYPBVKXJQZ'"
_LETTERS_A_SECOND = 14  # of read English; CTC's cost grows with them
_LEAST_SECONDS = 2.0


@dataclass(frozen=True)
class Workload:
    """A model and what it does on which device."""

    task: Task
    architecture: Architecture
    regularization: Regularization = field(default_factory=Regularization)
    masking: Masking = field(default_factory=Masking)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    device: str = "cpu"
    threads: int = 1

    @property
    def half(self) -> bool:
        """Whether matrix products are computed in bfloat16."""
        return self.train.precision == "bf16"

    @property
    def frozen(self) -> bool:
        """Whether the feature encoder is not trained."""
        return self.regularization.feature_grad_mult == 0.0


def made_up_audio(count: int, seconds: float, *, ragged: bool, seed: int) -> list[npt.NDArray[np.float32]]:
    """Noise: ``count`` waveforms of ``seconds``, or of lengths spread evenly from 2 s to ``seconds`` if ``ragged``."""
    random = np.random.default_rng(seed)
    least = min(_LEAST_SECONDS, seconds)
    lengths = random.uniform(least, seconds, count) if ragged else np.full(count, seconds)
    return [0.1 * random.standard_normal(round(n * SAMPLE_RATE), dtype=np.float32) for n in lengths]


def padded(rows: Waveforms) -> tuple[Tensor, Tensor]:
    """Waveforms to (B, S), zero beyond each row's length, and lengths (B,)."""
    tensors = [torch.from_numpy(np.ascontiguousarray(row)) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True), torch.tensor([len(row) for row in rows])


def audio_seconds(rows: Waveforms) -> float:
    """Seconds of audio in a batch, without padding."""
    return sum(len(row) for row in rows) / SAMPLE_RATE


def padding_share(rows: Waveforms) -> float:
    """Share of a batch's samples that are padding."""
    return 1.0 - sum(map(len, rows)) / (len(rows) * max(map(len, rows)))


def vocabulary() -> Vocabulary:
    """The symbols of English readers, for a recogniser whose output nobody reads."""
    return Vocabulary.from_transcripts([LETTERS])


def made_up_text(seconds: float, seed: int) -> str:
    """As many letters as are read in ``seconds``."""
    random = np.random.default_rng(seed)
    return "".join(random.choice(list(LETTERS.replace(" ", "")), max(1, round(seconds * _LETTERS_A_SECOND))))
