"""Decoding with FFmpeg, through PyAV: every container that libsndfile does not know, and files that it misreads.

Packets that cannot be decoded are counted and left out, so that a damaged or half-downloaded file still gives the
words that are in it. Only demuxers of audio and video are allowed, and no protocol but plain files: a playlist that
names other files or addresses is not followed.
"""

import io
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.error
import numpy as np

from wav2vec2.audio.blocks import joined_blocks
from wav2vec2.audio.encoded_file import AudioError, EncodedFile, check_rate
from wav2vec2.audio.packets import opus_samples, packet_bytes
from wav2vec2.errors import cause

_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,avr,caf,dsf,dts,dtshd,eac3,flac,flv,g722,g729,gsm,iff,ilbc,ircam,loas,"
    "matroska,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,paf,pvf,rm,shn,sox,tak,truehd,tta,voc,vqf,w64,wav,"
    "wsd,wtv,wv,wve,xwma"
)
_TIMED = frozenset({"mov", "matroska", "mp3", "aac", "asf", "avi", "flv", "wav", "w64", "aiff", "caf", "au"})
"""Containers with a time stamp that can be trusted on every packet: a piece is reached by seeking."""
_PROMISING = frozenset({"mov", "matroska", "asf", "avi", "flv", "w64", "aiff", "caf", "tta", "wv", "ape", "tak"})
"""Containers whose duration FFmpeg reads in a header; of the others it estimates it."""
_PREROLL_SECONDS = 1.0
"""Decoded before a piece: frames of lossy codecs depend on the frames before them, and seeking is not exact."""
_SEEK_FROM = 10.0
"""An earlier start (seconds) is reached by decoding from the beginning."""
_INTEGERS = {"u8": (128.0, 128.0), "s16": (0.0, 2.0**15), "s32": (0.0, 2.0**31), "s64": (0.0, 2.0**63)}
_BLOCK = 1 << 18  # samples
_DIRECT_CHANNELS = 8  # PyAV keeps pointers to no more planes: of a frame with more it reads beyond them


class FFmpegStream:
    """The audio stream of an open container: `rate` (Hz), `channels`, `codec`, and how many `tracks` there are."""

    def __init__(self, container: "av.container.InputContainer", name: str) -> None:
        """Choose the stream. Raises ValueError if there is none that can be decoded, and AudioError for its rate."""
        stream = container.streams.best("audio")
        if not isinstance(stream, av.AudioStream):
            raise ValueError("it holds no audio stream")
        if stream.codec_context is None:
            raise ValueError("its audio codec is unknown")
        self._container, self._stream = container, stream
        self._decoder = _decoder_of(stream)
        self.format = container.format.name.split(",")[0]
        self.codec = stream.codec_context.name
        self.tracks = len(container.streams.audio)
        self.damaged = 0
        """Packets that could not be decoded so far."""
        self._failed, self._last = False, b""  # whether the last packet is damaged; the last that was decoded
        self._begun = 0  # samples of the packets up to the first frame, for Opus in Matroska
        self._frames = self._decoded()
        self._first = next(self._frames, None)
        rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
        if self._first is not None:
            rate, channels = self._first.sample_rate, self._first.layout.nb_channels
        self.rate, self.channels = check_rate(int(rate or 0), name), int(channels or 0)

    @property
    def damaged_last(self) -> bool:
        """Whether the last packet could not be decoded, or is incomplete."""
        return self._failed or packet_bytes(self.codec, self._last) > len(self._last)

    @property
    def promised_seconds(self) -> float:
        """The length that a header gives; 0 if none does."""
        alone = len(self._container.streams) == 1
        if self.format not in _PROMISING or not (alone or self.format == "mov"):
            return 0.0  # beside a picture, it is the length of the longest stream
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        return self._container.duration / 1e6 if self._container.duration else 0.0

    def blocks(self, start: int = 0, *, seek: bool = True) -> Iterator[np.ndarray]:
        """Decode from sample `start` on, counted at the stream's rate; yields mono blocks, float32, to the end.

        seek: whether to go to the place by time stamps, where the container has them, instead of decoding up to it.
        """
        position = -self._preskip_left()
        if seek and start > _SEEK_FROM * self.rate and self.format in _TIMED:
            position += self._seek(start)
        mixer = _Mixer(self.rate)
        frames = itertools.chain([] if self._first is None else [self._first], self._frames)
        for block in joined_blocks((mixer.mono(frame) for frame in frames), _BLOCK):
            if position + len(block) > start:
                yield block[max(0, start - position) :]
            position += len(block)

    def _preskip_left(self) -> int:
        """The samples before the first that FFmpeg has not removed.

        Files that FFmpeg itself has written from speech at 16 kHz give too short a delay for Opus in Matroska. The
        codec's own header is right.
        """
        header = self._stream.codec_context.extradata or b""
        if self.codec not in ("opus", "libopus") or self.format != "matroska" or header[:8] != b"OpusHead":
            return 0
        removed = self._begun - (self._first.samples if self._first is not None else 0)
        return max(0, int.from_bytes(header[10:12], "little") - removed) if removed >= 0 else 0

    def _seek(self, start: int) -> int:
        """Go to shortly before a sample; returns the position reached, counted from the first frame."""
        first, time = self._first, self._stream.time_base
        if first is None or first.pts is None or time is None:
            return 0
        try:
            where = int((start / self.rate - _PREROLL_SECONDS) / time) + first.pts
            self._container.seek(where, stream=self._stream)
            reached = self._restart()
            if reached is not None and reached.pts is not None:
                position = float((reached.pts - first.pts) * time) * self.rate
                position = _on_grid(position, first.samples, reached.samples, float(time) * self.rate)
                if 0 <= position <= start:
                    return round(position)
        except av.error.FFmpegError:
            pass
        self._container.seek(0)
        self._restart()
        return 0

    def _restart(self) -> "av.AudioFrame | None":
        self._decoder.flush_buffers()
        self._frames = self._decoded()
        self._first = next(self._frames, None)
        return self._first

    def _decoded(self) -> Iterator["av.AudioFrame"]:
        """Yield frames; packets that are damaged are counted and left out."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except IndexError:  # a packet of a stream that began after the file was opened
                packets = self._container.demux(self._stream)
                continue
            except av.error.FFmpegError:
                self.damaged, self._failed = self.damaged + 1, True
                return
            if packet is None:
                return
            content = bytes(packet)
            self._begun += opus_samples(content) if self.codec in ("opus", "libopus") else 0
            try:
                frames = self._decoder.decode(packet if content else None)
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self.damaged, self._failed = self.damaged + 1, True
                continue
            if content:  # the packet at the end that flushes the decoder is empty
                self._failed, self._last = bool(packet.is_corrupt), content
            yield from frames


def _decoder_of(stream: "av.AudioStream") -> "av.AudioCodecContext":
    """The decoder of a stream. FFmpeg's own for AMR leaves out packets, so that all that follows comes too early."""
    other = f"libopencore_{stream.codec_context.name}"
    if other not in av.codecs_available:
        return stream.codec_context
    decoder = av.CodecContext.create(other, "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = stream.codec_context.sample_rate, "mono"
    return decoder


def _on_grid(position: float, first: int, step: int, tick: float) -> float:
    """Make a position exact whose time stamp is coarse (1 ms in Matroska): all frames but the first are equal."""
    if tick >= 4 and step > 8 * tick:
        on_grid = first + round((position - first) / step) * step
        if abs(on_grid - position) <= 2 * tick:
            return on_grid
    return position


class _Mixer:
    """Frames of any sample format to mono float32 at one rate; a stream may change its format within."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._converters: dict[tuple[str, str, int], av.AudioResampler] = {}

    def mono(self, frame: "av.AudioFrame") -> np.ndarray:
        channels = frame.layout.nb_channels
        if frame.sample_rate == self._rate and (frame.format.is_packed or channels <= _DIRECT_CHANNELS):
            return _mean(frame, channels)
        key = (frame.format.name, frame.layout.name, frame.sample_rate)
        if key not in self._converters:
            self._converters[key] = av.AudioResampler(format="flt", rate=self._rate)
        parts = [_mean(part, channels) for part in self._converters[key].resample(frame)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _mean(frame: "av.AudioFrame", channels: int) -> np.ndarray:
    """The mean of a frame's channels, float32 (samples,), full scale 1."""
    samples = frame.to_ndarray()
    samples = samples.reshape(-1, channels).T if frame.format.is_packed else samples
    mono = samples[0] if channels == 1 else samples.mean(axis=0, dtype=np.float64)
    offset, scale = _INTEGERS.get(frame.format.name.rstrip("p"), (0.0, 1.0))
    return np.asarray((mono - offset) / scale if scale != 1.0 else mono, dtype=np.float32)


@contextmanager
def open_ffmpeg(file: EncodedFile) -> Iterator[FFmpegStream]:
    """Open the audio stream of a file. Raises AudioError, also for what goes wrong while it is decoded."""
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    source = io.BytesIO(file.source) if isinstance(file.source, bytes) else str(Path(file.source).absolute())
    try:
        with av.open(source, "r", container_options=options, metadata_errors="replace") as container:
            yield FFmpegStream(container, file.name)
    except (av.error.FFmpegError, ValueError, EOFError, MemoryError) as error:
        problem = f"is damaged, or not audio that libsndfile or FFmpeg can read ({cause(error)})"
        raise AudioError(f"{file.name}: {problem}: replace or remove it", "unreadable") from None
