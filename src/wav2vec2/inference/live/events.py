"""What a live session reports, and writing it: lines of JSON, a line an utterance, or text that grows."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from wav2vec2.output.captions import columns
from wav2vec2.output.transcript import Word

_DIM, _NORMAL, _CLEAR = "\x1b[2m", "\x1b[0m", "\r\x1b[K"
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


def write_jsonl(events: Iterable[LiveEvent], out: TextIO) -> None:
    """Write each event as a line of JSON at once."""
    for event in events:
        print(json.dumps(event.as_json(), ensure_ascii=False), file=out, flush=True)


def write_text(events: Iterable[LiveEvent], out: TextIO) -> None:
    """Write the text of each utterance as a line when it has ended."""
    for event in events:
        if event.kind == "final":
            print(event.text, file=out, flush=True)


def write_growing(events: Iterable[LiveEvent], out: TextIO, width: int, *, space: str = " ") -> None:
    """Write on a terminal of `width` columns: committed words, then the tentative ones, dimmed, on one line.

    A full line is left, and the next one begun; so is an utterance that has ended.
    """
    line = ""
    for event in events:
        if event.kind == "committed":
            for word in (printable(word.text) for word in event.words):
                longer = f"{line}{space if line else ''}{word}"
                if line and columns(longer) >= width:
                    out.write(f"{_CLEAR}{line}\n")
                    longer = word
                line = longer
            out.write(f"{_CLEAR}{line}")
        elif event.kind == "tentative":
            tail = printable(event.text)
            room = width - columns(line) - 2
            while tail and columns(tail) > room:
                tail = tail[:-1]
            out.write(f"{_CLEAR}{line}" + (f"{space if line else ''}{_DIM}{tail}{_NORMAL}" if tail else ""))
        else:
            out.write(f"{_CLEAR}{line}\n")
            line = ""
        out.flush()


def printable(text: str) -> str:
    """Return a text without what a terminal would obey: a vocabulary is a stranger's."""
    return "".join(letter for letter in text if letter.isprintable())


def default_format() -> str:
    """Return the format for where stdout goes: growing text on a terminal, otherwise lines of JSON."""
    return "text" if sys.stdout.isatty() else "jsonl"
