"""Decode any audio file, or the bytes of one, to mono float32 at 16 kHz.

A format is recognised by content, not by name. libsndfile reads WAV, FLAC, MP3, Ogg Vorbis and Opus, AIFF, AU and
others; FFmpeg reads every other container, and the files that libsndfile would misread (`wav2vec2.audio.container`).
The length of a file is what decodes, not what its header says. Outside this package, lengths and positions are always
counted in samples at 16 kHz.
"""

import collections
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from wav2vec2.audio.decoder_messages import quietly, silent_decoder
from wav2vec2.audio.encoded_file import AudioError, EncodedFile, Source, check_rate, open_encoded, source_name
from wav2vec2.audio.libsndfile import DAMAGED, SndfileStream, open_sndfile
from wav2vec2.audio.native import NativeStream, examine

SAMPLE_RATE = 16_000
"""Samples a second of every waveform in the package."""

LONGEST_SECONDS = 4 * 3600
"""A longer recording is not read into one array."""

# The resampling filter needs some context, so a piece is decoded from a little before its start.
_RESAMPLER_MARGIN_SECONDS = 0.05
_LOUDEST = 8.0  # slight overs of float files are clipped; a higher peak means integer values stored as float


@dataclass(frozen=True)
class AudioInfo:
    """The properties of a file. `samples` is the length at 16 kHz; `sample_rate` is the file's own, in Hz."""

    sample_rate: int
    samples: int
    channels: int
    container: str
    warning: str = ""
    """One line if the file is cut short or damaged, or if something in it is not read; else empty."""


class AudioStream:
    """Decodes a file once, from its beginning to its end, in bounded memory."""

    def __init__(self, source: Source) -> None:
        """Take a path, or the bytes of an encoded file; nothing is read yet."""
        self._source = source
        self.info = AudioInfo(0, 0, 0, "")
        """What is known of the file; complete after the last block."""
        self.seekable = True
        """Whether `read_audio` reaches a place in the file without decoding up to it, and finds the same samples."""

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the samples as mono float32 at 16 kHz in [-1, 1], in blocks of about a minute at most.

        Raises:
            AudioError: the file is missing, empty, not audio, not finite, or has no samples.
        """
        name = source_name(self._source)
        yield from (_checked(block, name) for block in self._resampled() if len(block))

    def _resampled(self) -> Iterator[np.ndarray]:
        with open_encoded(self._source) as file:
            native = NativeStream(file)
            resampler = None
            found = 0
            for block in quietly(native.blocks()):
                if resampler is None:
                    resampler = _Resampler(native.rate)
                part = resampler.push(block)
                found += len(part)
                yield part
            self.info, self.seekable = _info_of(native), native.seekable
            if resampler is not None:
                yield resampler.last(self.info.samples - found)


class _Resampler:
    """Blocks of one recording to 16 kHz."""

    def __init__(self, rate: int) -> None:
        self._stream = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")

    def push(self, block: np.ndarray) -> np.ndarray:
        if self._stream is None:
            return block
        return np.asarray(self._stream.resample_chunk(np.ascontiguousarray(block)))

    def last(self, samples: int) -> np.ndarray:
        """The last `samples` samples, with zeros where there are fewer: soxr rounds lengths differently."""
        rest = self.push(np.zeros(0, np.float32))
        if self._stream is not None:
            rest = self._stream.resample_chunk(rest, last=True)
        return np.pad(rest, (0, max(0, samples - len(rest))))[: max(0, samples)]


def read_audio(source: Source, *, start: int = 0, samples: int | None = None) -> np.ndarray:
    """Decode a file, or a piece of it, to mono float32 of shape (samples,) at 16 kHz in [-1, 1].

    Args:
        source: a path, or the bytes of an encoded file.
        start: first sample of the piece, counted at 16 kHz.
        samples: length of the piece at 16 kHz; None reads to the end, at most four hours.

    Channels are averaged and other sampling rates are resampled. A piece of a long file is reached by seeking, without
    decoding what precedes it; its values equal those of the same samples in the whole file (to rounding, if the codec
    is lossless).

    Raises:
        AudioError: a `UserError` that names the file: it is missing, empty, corrupt, not audio, not finite, or shorter
            than `start + samples`.
    """
    name = source_name(source)
    if start < 0 or (samples is not None and samples < 1):
        piece = f"a piece of {samples} samples from {start}"
        raise AudioError(f"{name}: {piece} is impossible: correct the manifest", "bad segment")
    if start == 0 and samples is None:
        return _gathered(AudioStream(source).blocks(), name)
    with silent_decoder(), open_encoded(source) as file:
        waveform = _piece(file, start, samples)
    if len(waveform) < (samples or 1):
        missing = f"ends {(samples or 1) - len(waveform)} samples (16 kHz) before the piece {start}+{samples or 1} does"
        raise AudioError(f"{name}: {missing}: the file has changed; prepare it again", "cut short")
    return _checked(waveform[:samples], name)


def audio_info(source: Source) -> AudioInfo:
    """Return sampling rate, length, channels and container of a file.

    The length is that of `read_audio(source)`: from the header if the end of the file bears it out, else by decoding.

    Raises:
        AudioError: as `read_audio`, as far as can be told without decoding.
    """
    with silent_decoder(), open_encoded(source) as file:
        container = examine(file)
        if container.whole and not container.remark:
            with open_sndfile(file, container) as stream:
                if stream is not None and (frames := _end_borne_out(stream)):
                    rate = check_rate(stream.rate, file.name)
                    return AudioInfo(rate, length_at_16k(frames, rate), stream.channels, stream.format)
        native = NativeStream(file)
        collections.deque(native.blocks(), maxlen=0)
        return _info_of(native)


def length_at_16k(frames: int, rate: int) -> int:
    """Return how many samples at 16 kHz a recording of `frames` samples at `rate` has."""
    return (frames * SAMPLE_RATE + rate // 2) // rate


def _info_of(native: NativeStream) -> AudioInfo:
    """What is known of a file that has been decoded to its end."""
    samples = length_at_16k(native.samples, native.rate)
    return AudioInfo(native.rate, samples, native.channels, native.format, native.warning)


def _end_borne_out(stream: SndfileStream) -> int:
    """Return where the samples of a file end, at its own rate; 0 if its header is far from what decodes."""
    try:
        end = stream.end()
    except DAMAGED:
        return 0
    return end if stream.frames - end <= stream.tolerated_shortfall else 0


def _piece(file: EncodedFile, start: int, samples: int | None) -> np.ndarray:
    """Decode a piece, at 16 kHz; it may be longer than wanted, or shorter if the file ends before."""
    container = examine(file)
    if container.whole:
        with open_sndfile(file, container) as stream:
            if stream is not None:
                rate = check_rate(stream.rate, file.name)
                first, begin, end = _native_range(rate, start, samples, stream.preroll_seconds)
                last = stream.frames if end is None else min(end, stream.frames)
                mono = _read_to(stream, begin, last)
                if begin + len(mono) >= last - (stream.tolerated_shortfall if last == stream.frames else 0):
                    return _resampled(mono, rate)[start - first :]
    from wav2vec2.audio.ffmpeg import open_ffmpeg  # importing PyAV takes a tenth of a second

    with open_ffmpeg(file) as decoder:
        first, begin, end = _native_range(decoder.rate, start, samples, 0.0)
        wanted = LONGEST_SECONDS * decoder.rate if end is None else end - begin
        mono = _concatenated(_up_to(wanted, decoder.blocks(begin)))
        return _resampled(mono, decoder.rate)[start - first :]


def _read_to(stream: SndfileStream, begin: int, end: int) -> np.ndarray:
    """The samples from `begin` to `end`; none if libsndfile cannot decode them all."""
    try:
        return _concatenated(stream.blocks(begin, end)) if begin < end else np.zeros(0, np.float32)
    except DAMAGED:
        return np.zeros(0, np.float32)


def _up_to(wanted: int, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    found = 0
    for block in blocks:
        yield block
        found += len(block)
        if found >= wanted:
            return


def _concatenated(blocks: Iterator[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def _gathered(blocks: Iterator[np.ndarray], name: str) -> np.ndarray:
    """All blocks as one array. Raises AudioError if it would be too long."""
    found: list[np.ndarray] = []
    samples = 0
    for block in blocks:
        found.append(block)
        samples += len(block)
        if samples > LONGEST_SECONDS * SAMPLE_RATE:
            hours = LONGEST_SECONDS // 3600
            raise AudioError(f"{name}: is longer than {hours} hours: cut it with 'prepare --segment'", "too long")
    return np.concatenate(found)


def _native_range(rate: int, start: int, samples: int | None, preroll: float) -> tuple[int, int, int | None]:
    """Return where to read: (first sample at 16 kHz, the same instant at the file's rate, end at the file's rate).

    The first sample lies on both sampling grids, so that a resampled piece has the values of the whole file.
    """
    divisor = math.gcd(rate, SAMPLE_RATE)
    ours, native = SAMPLE_RATE // divisor, rate // divisor
    margin = 0.0 if rate == SAMPLE_RATE else _RESAMPLER_MARGIN_SECONDS
    blocks = max(0, (start - math.ceil((preroll + margin) * SAMPLE_RATE)) // ours)
    end = None
    if samples is not None:
        end = math.ceil((start + samples) * rate / SAMPLE_RATE) + math.ceil(margin * rate)
    return blocks * ours, blocks * native, end


def _resampled(mono: np.ndarray, rate: int) -> np.ndarray:
    resampler = _Resampler(rate)
    resampled = resampler.push(mono)
    return np.concatenate([resampled, resampler.last(length_at_16k(len(mono), rate) - len(resampled))])


def _checked(waveform: np.ndarray, name: str) -> np.ndarray:
    """Return samples that are finite and within [-1, 1]. Raises AudioError."""
    low, high = float(waveform.min()), float(waveform.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise AudioError(f"{name}: holds NaN or infinite samples: export it again", "not finite")
    peak = max(-low, high)
    if peak > _LOUDEST:
        raise AudioError(f"{name}: peaks at {peak:.0f} instead of 1: scale its samples", "out of range")
    return np.ascontiguousarray(waveform if peak <= 1.0 else np.clip(waveform, -1.0, 1.0), dtype=np.float32)
