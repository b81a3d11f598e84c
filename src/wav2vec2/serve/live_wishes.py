"""What a client asks of a live session, as OpenAI's `session.update` says it, in the older and the present shape."""

from dataclasses import dataclass, field
from typing import Any

from wav2vec2.serve.failures import wrong
from wav2vec2.serve.live_audio import AudioFormat
from wav2vec2.serve.server import Server

_DELAYS = ("minimal", "low", "medium", "high", "xhigh")


@dataclass
class Wishes:
    """What a client has asked for. turns: whether utterances end by themselves, after `silence` seconds."""

    model: str
    format: AudioFormat = field(default_factory=AudioFormat)
    turns: bool = True
    silence: float | None = None
    delay: str = "high"
    include: tuple[str, ...] = ()

    def update(self, session: Any, server: Server) -> None:
        """Take over what `session.update` says. Raises ApiError for what cannot be."""
        if not isinstance(session, dict):
            raise wrong("session: is no object", "session")
        given = _object(_object(session, "audio"), "input")
        old = {name.removeprefix("input_audio_"): session[name] for name in session if name.startswith("input_audio_")}
        given = {**old, **{name: session[name] for name in ("turn_detection",) if name in session}, **given}
        if "format" in given:
            self.format = AudioFormat.of(given["format"])
        transcription = _object(given, "transcription")
        if "model" in transcription:
            self.model = server.checked_model(str(transcription["model"]))
        if "delay" in transcription:
            if transcription["delay"] not in _DELAYS:
                raise wrong(f"delay: is not one of {', '.join(_DELAYS)}", "session.audio.input.transcription.delay")
            self.delay = transcription["delay"]
        if "turn_detection" in given:
            self._turns(given["turn_detection"])
        if "include" in session:
            include = session["include"] or []
            if not isinstance(include, list):
                raise wrong("include: is no list", "session.include")
            self.include = tuple(map(str, include))

    def _turns(self, detection: Any) -> None:
        self.turns = detection is not None
        if isinstance(detection, dict) and "silence_duration_ms" in detection:
            silence = detection["silence_duration_ms"]
            if not isinstance(silence, int | float) or not 200 <= silence <= 10_000:
                raise wrong("silence_duration_ms: must be from 200 to 10000", "session.audio.input.turn_detection")
            self.silence = silence / 1000

    def settings(self) -> dict[str, Any]:
        """Return the settings of the live session; see `LiveSettings`."""
        if self.silence is None:
            return {"delay": self.delay}
        return {"delay": self.delay, "after_word": self.silence, "pause": min(0.3, self.silence)}

    def plain(self) -> dict[str, Any]:
        """Return the session as the server tells it."""
        silence = round(1000 * (self.silence or 0.8))
        detection = {"type": "server_vad", "silence_duration_ms": silence} if self.turns else None
        audio = {
            "format": self.format.plain(),
            "transcription": {"model": self.model, "delay": self.delay},
            "turn_detection": detection,
        }
        return {"type": "transcription", "audio": {"input": audio}, "include": list(self.include)}


def _object(values: dict[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name) or {}
    if not isinstance(found, dict):
        raise wrong(f"{name}: is no object", f"session.{name}")
    return found
