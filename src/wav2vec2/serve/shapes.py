"""The answers of the transcription endpoints, in the shapes that OpenAI's clients expect."""

import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wav2vec2.output.formats import Format, render
from wav2vec2.output.transcript import Transcript, Word

Said = Mapping[str, Any]
"""What is said between two pauses: text, start, end, words (text, start, end, confidence), ids."""

FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
LEAST_LOGPROB = -20.0
MEDIA_TYPES = {"text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}


@dataclass
class Heard:
    """A whole recording: its pieces, and what is known at its end."""

    name: str
    pieces: list[Said] = field(default_factory=list)
    text: str = ""
    seconds: float = 0.0
    spaced: bool = True
    warning: str = ""

    @property
    def words(self) -> tuple[Word, ...]:
        """All words."""
        return tuple(Word(*word) for piece in self.pieces for word in piece["words"])

    def usage(self) -> dict[str, Any]:
        """Return the seconds of audio, as OpenAI counts them."""
        return {"type": "duration", "seconds": math.ceil(self.seconds)}

    def rendered(self, style: Format) -> str:
        """Return text or captions."""
        return render(Transcript(self.name, self.text, self.words, self.seconds, 0.0, spaced=self.spaced), style)

    def brief(self, *, logprobs: bool) -> dict[str, Any]:
        """Return the answer of the format json. logprobs: with the confidence of each word."""
        extra = {"logprobs": logprobs_of(self.words, self.spaced)} if logprobs else {}
        return {"text": self.text, **extra, "usage": self.usage(), **self._warning()}

    def verbose(self, language: str, granularities: Iterable[str]) -> dict[str, Any]:
        """Return the answer of the format verbose_json; words and segments as far as they are asked for."""
        asked = set(granularities) or {"segment"}
        answer: dict[str, Any] = {
            "task": "transcribe",
            "language": language,
            "duration": round(self.seconds, 3),
            "text": self.text,
            "usage": self.usage(),
            **self._warning(),
        }
        if "word" in asked:
            answer["words"] = [
                {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
                | ({} if word.confidence is None else {"confidence": round(word.confidence, 4)})
                for word in self.words
            ]
        if "segment" in asked:
            answer["segments"] = [_segment(number, piece) for number, piece in enumerate(self.pieces)]
        return answer

    def _warning(self) -> dict[str, str]:
        return {"warning": self.warning} if self.warning else {}


def _segment(number: int, piece: Said) -> dict[str, Any]:
    text = piece["text"]
    encoded = text.encode()
    return {
        "id": number,
        "seek": round(100 * piece["start"]),
        "start": round(piece["start"], 3),
        "end": round(piece["end"], 3),
        "text": text,
        "tokens": list(piece["ids"]),
        "temperature": 0.0,
        "avg_logprob": _mean_logprob(piece["words"]),
        "compression_ratio": round(len(encoded) / len(zlib.compress(encoded)), 4),
        "no_speech_prob": 0.0 if text else 1.0,
        **({"greedy": piece["greedy"]} if "greedy" in piece else {}),
    }


def _mean_logprob(words: Sequence[Sequence[Any]]) -> float:
    known = [logprob(word[3]) for word in words if word[3] is not None]
    return round(sum(known) / len(known), 4) if known else 0.0


def logprob(confidence: float) -> float:
    """Return the natural logarithm of a confidence, not below -20: JSON has no infinity."""
    return max(LEAST_LOGPROB, math.log(confidence)) if confidence > 0 else LEAST_LOGPROB


def logprobs_of(words: Sequence[Word], spaced: bool, *, begun: bool = False) -> list[dict[str, Any]]:
    """Return a token for each word, with the space before it. begun: something was said before them."""
    tokens = []
    for number, word in enumerate(words):
        token = (" " if spaced and (number or begun) else "") + word.text
        confidence = 1.0 if word.confidence is None else word.confidence
        tokens.append({"token": token, "bytes": list(token.encode()), "logprob": round(logprob(confidence), 4)})
    return tokens


def server_event(values: Mapping[str, Any]) -> bytes:
    """Return one server-sent event."""
    return b"data: " + json.dumps(values, ensure_ascii=False).encode() + b"\n\n"
