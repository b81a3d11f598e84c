"""The microphone as a stream of samples, through PortAudio (the package sounddevice, extra ``mic``)."""

import queue
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from wav2vec2.audio.blocks import StreamResampler
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.errors import UserError, cause

_BLOCK_SECONDS = 0.1
_MOST_SECONDS = 60.0
"""Seconds of audio that wait at most; a recogniser that is further behind loses what comes next."""


class Microphone:
    """Records from an input device, mono, as long as it is open (a `with` statement).

    device: number or part of the name of an input device; empty for the system's own choice. Raises UserError if
    sounddevice or PortAudio is missing, and for a device that cannot be opened.
    """

    def __init__(self, device: str = "") -> None:
        sounddevice = _sounddevice()
        self._waiting: queue.Queue[np.ndarray] = queue.Queue(round(_MOST_SECONDS / _BLOCK_SECONDS))
        self._lost = 0
        chosen = None if not device else int(device) if device.isdigit() else device
        try:
            rate = int(sounddevice.query_devices(chosen, "input")["default_samplerate"])
            self._resampler = StreamResampler(rate, SAMPLE_RATE)
            self._stream = sounddevice.InputStream(
                samplerate=rate,
                blocksize=round(rate * _BLOCK_SECONDS),
                device=chosen,
                channels=1,
                dtype="float32",
                callback=self._hear,
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            name = f"input device {device!r}" if device else "microphone"
            raise UserError(
                f"{name}: cannot be opened ({cause(error)}); 'python -m sounddevice' lists the devices; or give audio "
                "on stdin: wav2vec2 listen -"
            ) from None

    def __enter__(self) -> "Microphone":
        self._stream.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield samples as they are recorded, mono float32 at 16 kHz, without end."""
        while True:
            block = self._resampler.push(self._waiting.get())
            if self._lost:
                lost, self._lost = self._lost, 0
                print(f"microphone: {lost * _BLOCK_SECONDS:.1f} s were lost: recognition is too slow", file=sys.stderr)
            yield block

    def _hear(self, samples: Any, _frames: int, _time: Any, status: Any) -> None:
        """Take a block (frames, 1); PortAudio calls this from a thread of its own."""
        try:
            self._waiting.put_nowait(samples[:, 0].copy())
            self._lost += bool(status.input_overflow)
        except queue.Full:
            self._lost += 1


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise UserError(
            "microphone: needs the extra wav2vec2[mic]: install it, or give audio on stdin: wav2vec2 listen -"
        ) from None
    except OSError:  # its library is not in the wheel on Linux
        raise UserError(
            "microphone: PortAudio is not installed: apt install libportaudio2 (or your system's package), or give "
            "audio on stdin: wav2vec2 listen -"
        ) from None
    return sounddevice
