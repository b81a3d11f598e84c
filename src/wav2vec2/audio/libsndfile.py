"""Decoding with libsndfile, through soundfile: WAV, FLAC, MP3, Ogg Vorbis and Opus, AIFF, AU, CAF and others."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import soundfile

from wav2vec2.audio.container import Container
from wav2vec2.audio.encoded_file import EncodedFile

DAMAGED = (soundfile.LibsndfileError, OSError, ValueError)
"""The exceptions of soundfile while it reads a damaged file."""

LOSSY_SHORTFALL_SECONDS = 0.2
"""A lossy file may end this much before its header says, because the header counts an encoder's padding."""

SHORTFALL_SECONDS = 0.01
"""The same for other files."""

_TAIL_SECONDS = 2.0  # decoded to learn where a compressed file ends
_LOSSY_PREROLL_SECONDS = 0.5  # MP3 and Opus frames depend on the frames before them
_BLOCK = 1 << 18  # samples of all channels; what is computed of a block takes several times its memory
_STORED = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU"})  # a frame that the header counts is there
_LOSSY = frozenset({"MP3", "OGG"})


class SndfileStream:
    """An open file: `rate` (Hz), `channels`, `format`, and `frames`, the length that its header gives."""

    def __init__(self, file: soundfile.SoundFile, seekable_to: int | None) -> None:
        """Take an open file, and the last sample that libsndfile finds (see `Container`)."""
        self._file = file
        self._seekable_to = seekable_to
        self.rate = int(file.samplerate)
        self.channels = int(file.channels)
        self.format = f"{file.format} {file.subtype}"
        self.frames = int(file.frames)
        lossy = file.format in _LOSSY
        shortfall = LOSSY_SHORTFALL_SECONDS if lossy else SHORTFALL_SECONDS
        self.tolerated_shortfall = round(shortfall * self.rate)
        """Samples by which the file may end before its header says."""
        self.preroll_seconds = _LOSSY_PREROLL_SECONDS if lossy else 0.0

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[np.ndarray]:
        """Yield mono blocks, float32, from sample `start` to `end` or the end of the file. Raises `DAMAGED`."""
        position = start if self._seekable_to is None else max(0, min(start, self._seekable_to - 1))
        if start:
            self._file.seek(position)
        while position < start:
            skipped = len(self._file.read(min(_BLOCK // self.channels, start - position)))
            if not skipped:
                return
            position += skipped
        while end is None or position < end:
            count = max(1, _BLOCK // self.channels)
            count = count if end is None else min(count, end - position)
            frames = self._file.read(count, dtype="float32", always_2d=True)
            if not len(frames):
                return
            position += len(frames)
            yield frames[:, 0] if self.channels == 1 else np.asarray(frames.mean(axis=1), dtype=np.float32)

    def end(self) -> int:
        """Return where the samples end, found by decoding the last seconds of a compressed file. Raises `DAMAGED`."""
        if self._file.format in _STORED or not self.frames:
            return self.frames
        start = max(0, self.frames - round(_TAIL_SECONDS * self.rate))
        return start + sum(len(block) for block in self.blocks(start))


@contextmanager
def open_sndfile(file: EncodedFile, container: Container) -> Iterator[SndfileStream | None]:
    """Open a file with libsndfile; None if it does not know the format.

    libsndfile is given a descriptor instead of the name, because it trusts an extension such as .gsm.
    """
    opened = None
    try:
        opened = soundfile.SoundFile(file.descriptor, closefd=False)
    except soundfile.LibsndfileError:
        yield None
        return
    with opened:
        yield SndfileStream(opened, container.seekable_to)
