"""Decoding a recording for `prepare`, once, in blocks: its length, its loudest sample, and where its speech is."""

import functools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from wav2vec2.audio.blocks import joined_blocks
from wav2vec2.audio.encoded_file import AudioError, Source
from wav2vec2.audio.pauses import (
    HOP,
    Detector,
    Segmentation,
    frame_energies,
    pause_segments,
    speech_by_energy,
)
from wav2vec2.audio.read import SAMPLE_RATE, AudioInfo, AudioStream, audio_info, read_audio
from wav2vec2.audio.silero import speech_by_silero
from wav2vec2.data.byte_range import read_bytes
from wav2vec2.data.utterance import Utterance

SILENT_PEAK = 1e-4
"""A recording whose loudest sample is below this (-80 dB, three steps of 16 bits) is silent."""

# Longer recordings are decoded in blocks, so that memory does not grow with their length. A whole number of frames.
_BLOCK = 300 * SAMPLE_RATE
# The last segment of .stm files, subtitles and Kaldi's segments often ends a little after its recording.
_OVERSHOOT = SAMPLE_RATE // 2


@dataclass(frozen=True)
class Rules:
    """Which recordings are accepted, and how they are split and cut: options of `prepare`; all times in seconds."""

    valid_percent: float = 1.0
    min_seconds: float = 0.1
    max_seconds: float | None = None
    segmentation: Segmentation | None = None
    detector: Detector = "energy"
    alphabet: str | None = None
    check: Literal["decode", "header"] = "decode"


@dataclass
class Decoded:
    """What decoding a recording has shown."""

    info: AudioInfo
    samples: int = 0
    peak: float = 0.0
    long: bool = False
    """Whether it is to be cut at pauses."""
    energies: list[np.ndarray] = field(default_factory=list)
    speech: list[np.ndarray] = field(default_factory=list)

    def pauses(self, rules: Segmentation) -> list[tuple[int, int]]:
        """The segments between pauses, as (start, samples)."""
        energies = np.concatenate(self.energies)
        speech = np.concatenate(self.speech) if self.speech else speech_by_energy(energies)
        return pause_segments(speech, energies, self.samples, rules)


def decode(recording: Utterance, rules: Rules, silero: Any, *, segmentation: Segmentation | None) -> Decoded:
    """Decode and check a recording; with a `segmentation`, what is needed to cut it is kept.

    Raises:
        AudioError: the recording cannot be decoded, or it is silent.
    """
    source = _source(recording)
    longest = segmentation.longest * SAMPLE_RATE if segmentation is not None else math.inf
    if recording.samples < 0 and recording.start == 0 and rules.check == "decode":
        stream = AudioStream(source)
        decoded = _add_blocks(Decoded(stream.info), stream.blocks(), segmentation, silero)
        decoded.info = stream.info
    else:
        info = _info(recording, source)
        there = info.samples - recording.start
        whole = there if recording.samples < 0 or 0 < recording.samples - there <= _OVERSHOOT else recording.samples
        header = rules.check == "header" and whole <= longest
        decoded = _add_blocks(Decoded(info), _blocks(recording, source, whole, header=header), segmentation, silero)
        decoded.samples = whole if header else decoded.samples
    if decoded.peak < SILENT_PEAK:
        problem = f"is silent (peak {decoded.peak:.1e}): remove it, or record it again"
        raise AudioError(f"{recording.path}: {problem}", "silent")
    decoded.long = decoded.samples > longest
    return decoded


def _add_blocks(
    decoded: Decoded, blocks: Iterator[np.ndarray], segmentation: Segmentation | None, silero: Any
) -> Decoded:
    # a block that ends within a frame would shift the frames after it
    for waveform in joined_blocks(blocks, _BLOCK, HOP) if segmentation is not None else blocks:
        decoded.samples += len(waveform)
        decoded.peak = max(decoded.peak, float(np.abs(waveform).max()))
        if segmentation is not None:
            decoded.energies.append(frame_energies(waveform))
            if silero is not None:
                decoded.speech.append(speech_by_silero(waveform, silero))
    return decoded


def _blocks(recording: Utterance, source: Source, whole: int, *, header: bool) -> Iterator[np.ndarray]:
    """Yield a recording's samples in blocks; if `header`, only a second at its beginning and one in the middle."""
    if header and whole > 2 * SAMPLE_RATE:
        for start in (0, whole // 2):
            yield read_audio(source, start=recording.start + start, samples=SAMPLE_RATE)
    else:
        for start in range(0, whole, _BLOCK):
            yield read_audio(source, start=recording.start + start, samples=min(_BLOCK, whole - start))


def _info(recording: Utterance, source: Source) -> AudioInfo:
    """`audio_info`, once for all pieces of a file: of some containers it decodes everything."""
    if isinstance(source, bytes):
        return audio_info(source)
    try:
        return _info_of_file(str(source), os.stat(source).st_mtime_ns)
    except (OSError, ValueError):
        return audio_info(source)  # which says what is wrong


@functools.lru_cache(maxsize=16)
def _info_of_file(path: str, modified: int) -> AudioInfo:
    return audio_info(path)


def _source(recording: Utterance) -> Source:
    if recording.size >= 0 or "://" in recording.path:
        return read_bytes(recording.path, recording.offset, recording.size)
    return recording.path
