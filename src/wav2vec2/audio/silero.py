"""The Silero voice activity network (extra wav2vec2[silero]), for whole recordings and for streams.

It tells a voice from other sounds, where energy tells loud from quiet: music, typing and traffic are no speech to it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from wav2vec2.audio.pauses import HOP
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.speech_stream import EnergyMeter
from wav2vec2.errors import UserError

SILERO_NEEDED = "--vad silero: needs the extra wav2vec2[silero]: install it, or use --vad energy"

_HEARD = 512
"""Samples that the network hears at once."""
_BEGINS, _ENDS = 0.5, 0.35
"""Probabilities with which speech begins and ends: those of the network's own `get_speech_timestamps`."""


def load_silero() -> Any:
    """Load the network. It remembers what it has heard, so each stream needs its own.

    Raises UserError if the extra is not installed.
    """
    with _one_thread():  # the package leaves it at one thread for everything that torch computes
        try:
            import silero_vad
        except ImportError:
            raise UserError(SILERO_NEEDED) from None
        return silero_vad.load_silero_vad()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Threads wait for each other longer than the network, which is small, takes to compute."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def speech_by_silero(waveform: np.ndarray, model: Any) -> np.ndarray:
    """Mark the 10 ms frames with speech according to the network (`load_silero`), bool (ceil(samples/160),)."""
    import silero_vad
    import torch

    with _one_thread():
        spans = silero_vad.get_speech_timestamps(torch.from_numpy(waveform), model, sampling_rate=SAMPLE_RATE)
    speech = np.zeros(-(-len(waveform) // HOP), dtype=bool)
    for span in spans:
        speech[span["start"] // HOP : -(-span["end"] // HOP)] = True
    return speech


class SileroDetector:
    """`speech_activity.ActivityDetector` by the Silero network, 512 samples at a time. Raises UserError without it."""

    def __init__(self) -> None:
        self._network = load_silero()
        self._network.reset_states()
        self._meter = EnergyMeter()
        self._samples = np.zeros(0, np.float32)
        self._heard = 0
        self._speaking = False
        self._energies, self._marks = np.zeros(0, np.float32), np.zeros(0, bool)

    def push(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ActivityDetector`."""
        samples = samples.astype(np.float32, copy=False)
        self._energies = np.concatenate([self._energies, self._meter.push(samples)])
        self._samples = np.concatenate([self._samples, samples])
        while len(self._samples) >= _HEARD:
            self._hear(self._samples[:_HEARD])
            self._samples = self._samples[_HEARD:]
        known = min(len(self._energies), len(self._marks))
        decided = self._marks[:known], self._energies[:known]
        self._marks, self._energies = self._marks[known:], self._energies[known:]
        return decided

    def _hear(self, samples: np.ndarray) -> None:
        import torch

        with _one_thread(), torch.inference_mode():
            probability = float(self._network(torch.from_numpy(samples), SAMPLE_RATE))
        self._speaking = probability >= (_ENDS if self._speaking else _BEGINS)
        before, self._heard = self._heard, self._heard + _HEARD
        # a frame belongs to the samples that hold its middle
        frames = (self._heard + HOP // 2 - 1) // HOP - (before + HOP // 2 - 1) // HOP
        self._marks = np.concatenate([self._marks, np.full(frames, self._speaking)])
