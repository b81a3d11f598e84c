"""A CTC model without weights: every frame "hears" the symbol whose number is the loudness at the frame's centre."""

from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from wav2vec2.model.architecture import Architecture
from wav2vec2.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_transcripts(["THE QUICK BROWN FOX JUMPS OVER A LAZY DOG'S"])
LOUDNESS = 1 / 64
TEXTS = ["THE FOX", "A", "LAZY DOG'S QUICK FOX", "JUMPS OVER"]


class LoudnessCTC(nn.Module):
    """Logits peak at symbol `round(64 * sample)` of each frame's centre; counts what it was given."""

    def __init__(self, vocabulary: Vocabulary | None = VOCABULARY, *, normalize_input: bool = False) -> None:
        super().__init__()
        self.architecture = Architecture(normalize_input=normalize_input)
        self.vocabulary = vocabulary
        self.blank = 0
        self.size = len(vocabulary or VOCABULARY)
        self.shapes: list[tuple[int, int]] = []

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        assert not self.training
        self.shapes.append(tuple(waveforms.shape))
        centres = waveforms.unfold(1, 400, 320)[:, :, 200]
        symbols = (centres / LOUDNESS).round().long().clamp(0, self.size - 1)
        logits = 10.0 * nn.functional.one_hot(symbols, self.size).float()
        return logits, torch.tensor([self.architecture.frame_length(int(n)) for n in lengths])


def spoken(text: str, vocabulary: Vocabulary = VOCABULARY, *, hold: int = 3) -> np.ndarray:
    """Audio in which each symbol lasts `hold` frames and a blank frame follows it."""
    frames = [symbol for index in vocabulary.encode(text) for symbol in (*[index] * hold, 0)]
    return np.pad(np.repeat(np.array(frames, dtype=np.float32) * LOUDNESS, 320), (0, 80))


def write(path: Path, samples: np.ndarray, rate: int = 16_000) -> Path:
    """Write a WAV file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path
