"""Alignments as values and as JSON. Symbols that the vocabulary lacks have no time: they are null in JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any

from wav2vec2.output.formats import Format, render
from wav2vec2.output.timed import TimedText, TimedWord


@dataclass(frozen=True)
class Alignment:
    """The times of the words of a recording.

    source: name of the recording. seconds: its length. score: geometric mean of the posterior over the frames of all
    words, in [0, 1]. log_probability: of the best path, in nats. spaced: whether words are separated by spaces.
    unknown: symbols without a time, with their counts.
    """

    source: str
    seconds: float
    score: float
    log_probability: float
    words: tuple[TimedWord, ...]
    spaced: bool = True
    unknown: dict[str, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The words, as they were given."""
        return (" " if self.spaced else "").join(word.text for word in self.words)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, with the fields of this class."""
        return asdict(self)

    def timed(self, name: str = "") -> TimedText:
        """Return the words for a writer, under the recording's own name or another one."""
        return TimedText(name or self.source, self.seconds, self.words, self.spaced)

    def render(self, style: Format) -> str:
        """Return the content of a file in a format: text, json, jsonl, srt, vtt, tsv, ctm or textgrid.

        Raises ValueError for another one.
        """
        return render(self, style)
