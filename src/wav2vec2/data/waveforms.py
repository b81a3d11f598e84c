"""Waveforms of manifest rows, read from files, byte ranges and URLs."""

from collections.abc import Iterable, Mapping

from wav2vec2.audio.encoded_file import AudioError, NamedBytes
from wav2vec2.audio.read import read_audio
from wav2vec2.audio.recordings import Waveform
from wav2vec2.data.byte_range import ByteRange, read_bytes, read_ranges
from wav2vec2.data.remote import is_remote
from wav2vec2.data.utterance import Utterance

Fetched = Mapping[ByteRange, NamedBytes | AudioError]
"""Bytes of recordings in remote storage, or why they could not be had."""


def read_utterance(utterance: Utterance, fetched: Fetched | None = None) -> Waveform:
    """Decode one manifest row to mono float32 at 16 kHz (samples,).

    fetched: what `fetch` found for this row and others; what is not in it is read now.

    Raises:
        UserError: the file is missing, unreadable, not audio, not finite, or shorter than the manifest says.
    """
    samples = None if utterance.samples < 0 else utterance.samples
    if utterance.offset < 0 and not is_remote(utterance.path):
        return read_audio(utterance.path, start=utterance.start, samples=samples)
    place = _place(utterance)
    encoded = fetched.get(place) if fetched else None
    if encoded is None:
        encoded = read_bytes(place.path, place.offset, place.size)
    if isinstance(encoded, AudioError):
        raise encoded
    return read_audio(encoded, start=utterance.start, samples=samples)


def fetch(utterances: Iterable[Utterance]) -> Fetched:
    """Fetch the recordings of rows that lie in remote storage: each once, neighbours of a shard in one request."""
    return read_ranges(_place(one) for one in utterances if is_remote(one.path))


def _place(utterance: Utterance) -> ByteRange:
    inside = utterance.offset >= 0
    return ByteRange(utterance.path, utterance.offset if inside else -1, utterance.size if inside else -1)
