"""Decode any audio file, or the bytes of one, to mono float32 at 16 kHz.

libsndfile (through soundfile) reads WAV, FLAC, MP3, Ogg Vorbis and Opus, AIFF, AU and CAF. PyAV, the optional extra
`wav2vec2[av]`, reads other formats (M4A, MP4, WebM, WMA, AMR, ...). A format is recognised by content, not by name.
Outside this module, lengths and positions are always counted in samples at 16 kHz.
"""

import io
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from wav2vec2.audio.decoders import silent_decoder, sphere_compression
from wav2vec2.audio.ffmpeg import decode_stream
from wav2vec2.errors import UserError

SAMPLE_RATE = 16_000
"""Samples a second of every waveform in the package."""

Source = str | Path | bytes

# A piece is decoded from a little before its start: MP3 and Opus frames depend on the frames before them, and the
# resampling filter needs some context.
_LOSSY_PREROLL_SECONDS = 0.5
_RESAMPLER_MARGIN_SECONDS = 0.05
_TAIL_SECONDS = 2.0  # decoded to learn where an MP3 ends
_PADDING_SECONDS = 0.2  # an MP3 may end this much before its header says, because the header counts padding
_LOUDEST = 8.0  # slight overs of float files are clipped; a higher peak means integer values stored as float


class AudioError(UserError):
    """A file without usable audio. `reason` is a short label under which such files are counted."""

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class AudioInfo:
    """The properties of a file. `samples` is the length at 16 kHz; `sample_rate` is the file's own, in Hz."""

    sample_rate: int
    samples: int
    channels: int
    container: str


def read_audio(source: Source, *, start: int = 0, samples: int | None = None) -> np.ndarray:
    """Decode a file, or a piece of it, to mono float32 of shape (samples,) at 16 kHz in [-1, 1].

    Args:
        source: a path, or the bytes of an encoded file.
        start: first sample of the piece, counted at 16 kHz.
        samples: length of the piece at 16 kHz; None reads to the end.

    Channels are averaged and other sampling rates are resampled. A piece of a long file is reached by seeking, without
    decoding what precedes it; its values equal those of the same samples in the whole file (to rounding, if the codec
    is lossless).

    Raises:
        AudioError: a `UserError` that names the file: it is missing, empty, corrupt, not audio, not finite, or shorter
            than `start + samples`.
    """
    if start < 0 or (samples is not None and samples < 1):
        piece = f"a piece of {samples} samples from {start}"
        raise AudioError(f"{_name(source)}: {piece} is impossible: correct the manifest", "bad segment")
    with silent_decoder(), _opened(source) as file:
        if file is None:
            mono, rate, first = _read_with_av(source, start, samples)
        else:
            mono, rate, first = _read_with_soundfile(source, file, start, samples)
    waveform = _resampled(mono, rate)[start - first :]
    if samples is not None:
        if len(waveform) < samples:
            missing = f"ends {samples - len(waveform)} samples (16 kHz) before the piece {start}+{samples} does"
            raise AudioError(f"{_name(source)}: {missing}: the file has changed; prepare it again", "cut short")
        waveform = waveform[:samples]
    return _checked(waveform, source)


def audio_info(source: Source) -> AudioInfo:
    """Return sampling rate, length, channels and container of a file, from its header or, if need be, by decoding it.

    A file that only PyAV can read is reported with one channel and the container "other".

    Raises:
        AudioError: as `read_audio`, as far as can be told without decoding.
    """
    with silent_decoder(), _opened(source) as file:
        if file is None:
            mono, rate, _ = _read_with_av(source, 0, None)
            return AudioInfo(rate, _length_at_16k(len(mono), rate), 1, "other")
        frames, rate, channels = _decoded_frames(source, file), file.samplerate, file.channels
        if frames == 0:
            raise AudioError(f"{_name(source)}: holds no samples: remove it", "no samples")
        return AudioInfo(rate, _length_at_16k(frames, rate), channels, f"{file.format} {file.subtype}")


def audio_duration(source: Source) -> int:
    """Return the length of a file at 16 kHz, equal to `len(read_audio(source))`; from the header where possible."""
    return audio_info(source).samples


def _name(source: Source) -> str:
    return f"<{len(source)} bytes of audio>" if isinstance(source, bytes) else str(source)


@contextmanager
def _opened(source: Source) -> Iterator[soundfile.SoundFile | None]:
    """Open the file with libsndfile; None if it does not know the format.

    libsndfile is given a descriptor instead of the name, because it trusts an extension such as .gsm.
    """
    descriptor = -1
    try:
        if not isinstance(source, bytes):
            descriptor = _open_descriptor(source)
        if (len(source) if isinstance(source, bytes) else os.fstat(descriptor).st_size) == 0:
            raise AudioError(f"{_name(source)}: is empty (0 bytes): remove it or copy it again", "empty file")
        try:
            file = soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else descriptor, closefd=False)
        except soundfile.LibsndfileError:
            file = None
        try:
            yield file
        except soundfile.LibsndfileError as error:
            message = f"{_name(source)}: is damaged ({_one_line(error)}): copy it again or remove it"
            raise AudioError(message, "corrupt") from None
        finally:
            if file is not None:
                file.close()
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _open_descriptor(path: str | Path) -> int:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a named pipe could block for ever
            raise AudioError(f"{path}: is a folder or device, not an audio file: name a file", "unreadable")
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise AudioError(f"{path}: does not exist: correct the path or prepare the manifest again", "missing") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"{path}: cannot be opened ({error}): check its permissions", "unreadable") from None


def _head(source: Source) -> bytes:
    if isinstance(source, bytes):
        return source[:1024]
    with open(source, "rb") as file:
        return file.read(1024)


def _length_unknown(frames: int) -> bool:
    return frames < 0 or frames > 1 << 48  # for a streamed file libsndfile gives the largest integer


def _decoded_frames(source: Source, file: soundfile.SoundFile) -> int:
    """Return how many frames a file decodes to. Of an MP3 the end is decoded, because its header counts padding."""
    if _length_unknown(file.frames):
        return sum(len(block) for block in _blocks(file))
    if file.format != "MP3" or file.frames == 0:
        return int(file.frames)
    start = max(0, file.frames - round(_TAIL_SECONDS * file.samplerate))
    file.seek(start)
    frames: int = start + len(file.read(dtype="float32", always_2d=True))
    _refuse_if_cut_short(source, file, frames, file.frames)
    return frames


def _refuse_if_cut_short(source: Source, file: soundfile.SoundFile, found: int, promised: int) -> None:
    """Raise AudioError if a file ends before its header says; an MP3 may, by no more than an encoder's padding."""
    padding = _PADDING_SECONDS * file.samplerate if file.format == "MP3" else 0.0
    if promised - found > padding:
        there = f"the header promises {promised} samples, only {found} are there"
        raise AudioError(f"{_name(source)}: is cut short ({there}): copy it again or remove it", "corrupt")


def _blocks(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """Yield successive mono blocks at the file's own rate, to the end of the file."""
    while len(block := file.read(1 << 20, dtype="float32", always_2d=True)):
        yield _mono(block)


def _mono(frames: np.ndarray) -> np.ndarray:
    return frames[:, 0] if frames.shape[1] == 1 else np.asarray(frames.mean(axis=1), dtype=np.float32)


def _read_with_soundfile(
    source: Source, file: soundfile.SoundFile, start: int, samples: int | None
) -> tuple[np.ndarray, int, int]:
    """Read a piece and its context: (mono samples at the file's rate, that rate, position of the first at 16 kHz)."""
    rate = file.samplerate
    if _length_unknown(file.frames):
        return np.concatenate([np.zeros(0, np.float32), *_blocks(file)]), rate, 0
    preroll = _LOSSY_PREROLL_SECONDS if file.format in ("MP3", "OGG") else 0.0
    first, skip, end = _native_range(rate, start, samples, preroll)
    if skip >= file.frames:
        if file.frames == 0:
            raise AudioError(f"{_name(source)}: holds no samples: remove it", "no samples")
        raise AudioError(f"{_name(source)}: ends before sample {start} (16 kHz): prepare it again", "cut short")
    end = file.frames if end is None else min(end, file.frames)
    file.seek(skip)
    frames = file.read(end - skip, dtype="float32", always_2d=True)
    _refuse_if_cut_short(source, file, skip + len(frames), end)
    return _mono(frames), rate, first


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


def _length_at_16k(frames: int, rate: int) -> int:
    return (frames * SAMPLE_RATE + rate // 2) // rate


def _resampled(mono: np.ndarray, rate: int) -> np.ndarray:
    if rate == SAMPLE_RATE or not len(mono):
        return mono
    resampled = soxr.resample(mono, rate, SAMPLE_RATE)
    length = _length_at_16k(len(mono), rate)  # soxr rounds differently; headers and data must agree
    return np.pad(resampled, (0, max(0, length - len(resampled))))[:length]


def _checked(waveform: np.ndarray, source: Source) -> np.ndarray:
    if not len(waveform):
        raise AudioError(f"{_name(source)}: holds no samples: remove it", "no samples")
    low, high = float(waveform.min()), float(waveform.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise AudioError(f"{_name(source)}: holds NaN or infinite samples: export it again", "not finite")
    peak = max(-low, high)
    if peak > _LOUDEST:
        raise AudioError(f"{_name(source)}: peaks at {peak:.0f} instead of 1: scale its samples", "out of range")
    return np.ascontiguousarray(waveform if peak <= 1.0 else np.clip(waveform, -1.0, 1.0), dtype=np.float32)


def _read_with_av(source: Source, start: int, samples: int | None) -> tuple[np.ndarray, int, int]:
    """Like `_read_with_soundfile`, with PyAV, for containers that libsndfile does not know."""
    if packing := sphere_compression(_head(source)):
        message = f"is a NIST SPHERE file compressed with {packing}: convert it with 'sph2pipe -f wav' first"
        raise AudioError(f"{_name(source)}: {message}", "packed SPHERE")
    try:
        import av
    except ImportError:
        remedy = "install wav2vec2[av] for M4A, MP4, WebM, WMA and AMR; any other file is damaged or not audio"
        raise AudioError(f"{_name(source)}: cannot be read by libsndfile: {remedy}", "unreadable") from None
    try:
        with av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as container:
            if not container.streams.audio:
                raise AudioError(f"{_name(source)}: holds no audio stream: remove it", "unreadable")
            end = None if samples is None else (start + samples) / SAMPLE_RATE
            pieces, rate, first_native = decode_stream(container, start / SAMPLE_RATE, end)
    except (av.error.FFmpegError, ValueError, EOFError) as error:
        problem = f"is damaged, or not audio that libsndfile or FFmpeg can read ({_one_line(error)})"
        raise AudioError(f"{_name(source)}: {problem}: replace or remove it", "unreadable") from None
    mono = np.concatenate([np.zeros(0, np.float32), *pieces])
    first, wanted, _ = _native_range(rate, start, samples, 0.0)
    return mono[max(0, wanted - first_native) :], rate, first


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
