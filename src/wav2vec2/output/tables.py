"""Tables of words with their times: NIST CTM, and tab-separated values."""

import os

from wav2vec2.audio.recordings import is_audio_name
from wav2vec2.output.timed import TimedText, timed_entries

TSV_HEADER = "recording\tstart\tend\tword\tconfidence\n"


def as_ctm(text: TimedText) -> str:
    """Return a line for each word that has a time: name, channel 1, start, duration, word, and the score if known.

    sclite expects names without folder and suffix, no white space in a field, and comments begin with two semicolons.
    """
    name = "_".join(bare_name(text.name).split()) or "_"
    if name.startswith(";;"):
        name = f"_{name}"
    return "".join(
        f"{name} 1 {start:.4f} {end - start:.4f} {'_'.join(word.split()) or '_'}"
        + ("\n" if score is None else f" {score:.4f}\n")
        for start, end, word, score in timed_entries(text.words)
    )


def as_tsv(text: TimedText, *, header: bool = True) -> str:
    """Return a row for each word: the name of the recording, start and end in seconds, the word, and its score.

    A time or score that is not known is empty.
    """
    name = " ".join(text.name.split())
    rows = [
        f"{name}\t{_seconds(word.start)}\t{_seconds(word.end)}\t{' '.join(word.text.split())}\t{_seconds(word.score)}\n"
        for word in text.words
    ]
    return "".join([TSV_HEADER if header else "", *rows])


def bare_name(name: str) -> str:
    """Return the name of a recording without its folder and without the suffix of an audio file."""
    return os.path.splitext(os.path.basename(name))[0] if is_audio_name(name) else name


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
