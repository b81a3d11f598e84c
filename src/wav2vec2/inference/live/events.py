"""What a live session reports."""

from dataclasses import dataclass
from typing import Any, Literal

from wav2vec2.output.transcript import Word

EventKind = Literal["committed", "tentative", "final"]


@dataclass(frozen=True)
class LiveEvent:
    """Something that was heard.

    kind: `committed`: these words follow the committed words before, and never change. `tentative`: what probably comes
    next; it replaces the tentative words before, and may change. `final`: all words of an utterance, which has ended:
    the committed words since the last final event, with those that this event commits. text: the same as text.
    heard: seconds of audio that had been heard.
    """

    kind: EventKind
    words: tuple[Word, ...]
    text: str
    heard: float

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        words = [
            {"text": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
            | ({} if word.confidence is None else {"confidence": round(word.confidence, 4)})
            for word in self.words
        ]
        return {"kind": self.kind, "heard": round(self.heard, 3), "text": self.text, "words": words}
