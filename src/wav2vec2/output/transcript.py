"""Transcripts as values and as JSON."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from wav2vec2.output.formats import Format, render
from wav2vec2.output.timed import TimedText, TimedWord


@dataclass(frozen=True, slots=True)  # six hours have a hundred thousand of them
class Word:
    """A word of a transcript, or a symbol where the vocabulary has no word separator.

    start, end: in seconds, from the beginning of its first frame's 20 ms to the end of its last frame's, as in an
    `Alignment`. confidence: from 0 to 1, or None if the search gives none.
    """

    text: str
    start: float
    end: float
    confidence: float | None = None


@dataclass(frozen=True)
class Alternative:
    """An entry of an n-best list. Scores are natural logarithms; `score` is what the search ranks by."""

    text: str
    score: float
    acoustic_score: float
    lm_score: float


@dataclass(frozen=True)
class Transcript:
    """The transcript of a recording.

    source: name of the recording. seconds: its length. score: log-probability (nats) of the best path, or what the
    search ranked by. nbest: the alternatives, best first, if more than one was asked for. spaced: whether words are
    separated by spaces. warning: one line if the file is cut short or damaged, or if something in it was not read.
    """

    source: str
    text: str
    words: tuple[Word, ...]
    seconds: float
    score: float
    nbest: tuple[Alternative, ...] = ()
    spaced: bool = True
    warning: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return plain values; confidences, an n-best list and a warning that do not exist are left out."""
        plain = dataclasses.asdict(self)
        del plain["spaced"]
        if not self.warning:
            del plain["warning"]
        plain["words"] = [{name: value for name, value in word.items() if value is not None} for word in plain["words"]]
        if not self.nbest:
            del plain["nbest"]
        return plain

    def timed(self, name: str = "") -> TimedText:
        """Return the words for a writer, under the recording's own name or another one."""
        words = tuple(TimedWord(word.text, word.start, word.end, word.confidence) for word in self.words)
        return TimedText(name or self.source, self.seconds, words, self.spaced)

    def render(self, style: Format) -> str:
        """Return the content of a file in a format: text, json, jsonl, srt, vtt, tsv, ctm or textgrid.

        Raises ValueError for another one.
        """
        return render(self, style)
