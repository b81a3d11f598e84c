"""Rows of a manifest as recordings.

In a file of its own, so that a recording is transcribed without importing the library of manifests.
"""

from collections.abc import Iterator
from dataclasses import replace

from wav2vec2.audio.recordings import Recording, Waveform
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance
from wav2vec2.data.waveforms import read_utterance


def utterance_recording(utterance: Utterance) -> Recording:
    """Return the audio of a manifest row as a recording named by its id; it is read when it is needed."""

    def read(start: int, count: int) -> Waveform:
        return read_utterance(replace(utterance, start=utterance.start + start, samples=count))

    return Recording(utterance.id, utterance.samples, read)


def transcribed_utterances(manifest: Manifest) -> Iterator[Utterance]:
    """Yield the rows of `manifest` that have a transcript, an empty one included."""
    return (utterance for utterance in manifest if utterance.text is not None)
