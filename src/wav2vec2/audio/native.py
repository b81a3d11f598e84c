"""A file decoded from its beginning to its end at its own sampling rate: what is there, whatever its header says.

libsndfile decodes where it can be trusted (`wav2vec2.audio.container`). Where it stops early, FFmpeg goes on.
"""

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from wav2vec2.audio.container import Container, examine_container
from wav2vec2.audio.encoded_file import AudioError, EncodedFile, check_rate
from wav2vec2.audio.libsndfile import DAMAGED, LOSSY_SHORTFALL_SECONDS, open_sndfile
from wav2vec2.errors import cause

if TYPE_CHECKING:
    from wav2vec2.audio.ffmpeg import FFmpegStream

_EXAMINED: dict[tuple[int, int, int, int], Container] = {}
_MOST_EXAMINED = 10_000


class NativeStream:
    """The blocks of a file, and what is known of it after the last: `rate` (Hz), `channels`, `format`, `samples`."""

    def __init__(self, file: EncodedFile) -> None:
        """Examine the file's headers. Raises AudioError if they show that it cannot be read."""
        self._file = file
        self._container = examine(file)
        self._promised = self._container.promised_seconds
        self.rate = self.channels = self.samples = 0
        self.format = ""
        self.warning = ""
        """One line if the file is cut short or damaged, or if something in it is not read; else empty."""
        self.seekable = True
        """Whether a place in the file can be reached without decoding up to it; not if FFmpeg was needed."""

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all samples as mono float32 blocks at `rate`, which is known with the first. Raises AudioError."""
        if self._container.whole and (yield from self._with_sndfile()):
            self._warn(self._container.remark)
            return
        from wav2vec2.audio.ffmpeg import open_ffmpeg  # importing PyAV takes a tenth of a second

        with open_ffmpeg(self._file) as decoder:
            if self.samples:
                decoder.rate = self.rate  # libsndfile may give Opus another rate
            self.rate, self.channels, self.format = decoder.rate, decoder.channels, f"{decoder.format} {decoder.codec}"
            for block in decoder.blocks(self.samples, seek=False):
                self.samples += len(block)
                yield block
            self.seekable = False
            if not self.samples:
                self._refuse_empty(decoder.damaged > 0)
            self._warn(self._oddity(decoder))

    def _with_sndfile(self) -> Generator[np.ndarray, None, bool]:
        """Yield blocks; returns whether these are all that the header promises."""
        with open_sndfile(self._file, self._container) as stream:
            if stream is None:
                return False
            self.rate, self.channels, self.format = (
                check_rate(stream.rate, self._file.name),
                stream.channels,
                stream.format,
            )
            self._promised = stream.frames / self.rate
            try:
                for block in stream.blocks():
                    self.samples += len(block)
                    yield block
            except DAMAGED:
                return False
            return self.samples > 0 and stream.frames - self.samples <= stream.tolerated_shortfall

    def _refuse_empty(self, damaged: bool) -> NoReturn:
        if damaged or self._promised:
            raise AudioError(f"{self._file.name}: nothing in it can be decoded: copy it again or remove it", "corrupt")
        raise AudioError(f"{self._file.name}: holds no samples: remove it", "no samples")

    def _warn(self, oddity: str) -> None:
        if oddity:
            self.warning = f"{self._file.name}: {oddity}"

    def _oddity(self, decoder: "FFmpegStream") -> str:
        """What is odd about a file that FFmpeg has decoded to its end; "" if nothing is."""
        seconds = self.samples / self.rate
        promised = max(self._promised, decoder.promised_seconds, seconds * self._container.promised_share)
        read = f"the {seconds:.1f} s that are there are read"
        if promised - seconds > LOSSY_SHORTFALL_SECONDS:
            return f"is cut short: its header promises {promised:.1f} s; {read}; copy it again to have all of it"
        if (damaged := decoder.damaged - decoder.damaged_last) > 0:
            return f"is damaged: {damaged} of its packets cannot be decoded and are left out; {read}"
        sign = self._container.sign_of_cut
        incomplete = decoder.damaged_last and promised <= seconds and not self._container.promise_kept
        if not sign and incomplete and not decoder.codec.startswith("pcm"):
            sign = "it ends within a packet"
        if sign:
            return f"may be cut short: {sign}; {read}"
        if decoder.tracks > 1:
            return f"holds {decoder.tracks} audio tracks, of which one is read: extract another with ffmpeg -map 0:a:1"
        return self._container.remark


def examine(file: EncodedFile) -> Container:
    """Examine a file's headers, once for all pieces. Raises AudioError if they show that it cannot be read."""
    try:
        if isinstance(file.source, bytes):
            container = examine_container(file)
        else:
            status = os.fstat(file.descriptor)
            key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            container = _EXAMINED.get(key) or examine_container(file)
            if len(_EXAMINED) >= _MOST_EXAMINED:
                _EXAMINED.clear()
            _EXAMINED[key] = container
    except (OSError, ValueError) as error:
        raise AudioError(f"{file.name}: cannot be read ({cause(error)}): copy it again", "unreadable") from None
    if container.refusal:
        raise AudioError(f"{file.name}: {container.refusal}", container.refusal_reason)
    return container
