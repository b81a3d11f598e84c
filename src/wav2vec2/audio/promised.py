"""How long recordings are by what their headers say, without decoding: an estimate, for showing the time that is left.

A header may promise too much, too little, or nothing. What a recording really is, decoding tells (`audio.read`).
"""

import os
from collections.abc import Sequence
from pathlib import Path

from wav2vec2.audio.decoder_messages import silent_decoder
from wav2vec2.audio.encoded_file import AudioError, Source, open_encoded
from wav2vec2.audio.libsndfile import open_sndfile
from wav2vec2.audio.native import examine

_MOST_OPENED = 100  # of more files, these many are opened, and the others estimated from their sizes


def promised_seconds(source: Source) -> float:
    """Return the length that the header of a file promises; 0 if it promises none, or cannot be read."""
    try:
        with silent_decoder(), open_encoded(source) as file:
            container = examine(file)
            if container.whole:
                with open_sndfile(file, container) as stream:
                    if stream is not None:
                        return stream.frames / max(1, stream.rate)
            if container.promised_seconds:
                return container.promised_seconds
            from wav2vec2.audio.ffmpeg import open_ffmpeg  # importing PyAV takes a tenth of a second

            with open_ffmpeg(file) as decoder:
                return decoder.promised_seconds
    except (AudioError, OSError):
        return 0.0


def promised_lengths(files: Sequence[Path]) -> list[float]:
    """Estimate the lengths of many files, in seconds: 0 where nothing is known.

    Of more than a hundred, a hundred are opened; the others are taken to have as many bytes a second.
    """
    step = max(1, -(-len(files) // _MOST_OPENED))
    opened = {place: promised_seconds(files[place]) for place in range(0, len(files), step)}
    known = {place: _size(files[place]) for place, seconds in opened.items() if seconds}
    size = sum(known.values())
    seconds_a_byte = sum(opened[place] for place in known) / size if size else 0.0
    return [opened.get(place, seconds_a_byte * _size(file) if step > 1 else 0.0) for place, file in enumerate(files)]


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
