"""How much is heard before a word is written: chunk, look-ahead and left context, and where an utterance ends."""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from wav2vec2.audio.pauses import Detector
from wav2vec2.audio.pieces import PieceRules, suited_margin
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.errors import UserError
from wav2vec2.inference.windows import LONGEST_UNKNOWN, PieceSettings
from wav2vec2.model.architecture import Architecture

Delay = Literal["minimal", "low", "medium", "high", "xhigh"]
LOOK_AHEAD: dict[str, float] = dict(zip(get_args(Delay), (0.16, 0.32, 0.64, 1.28, 2.56), strict=True))
"""Seconds that are heard after a frame before it is committed."""
CHUNK_TRAINED_BELOW = 1.3
"""Below this latency in seconds, a model that was trained on whole utterances loses too many words."""

_LEAST_LEFT = 1.28  # seconds: half the kernel of the positional convolution


@dataclass(frozen=True)
class LiveSettings:
    """The sizes of a live session; all values but `delay` and `vad` in seconds.

    Raises UserError for sizes that are impossible.
    """

    delay: Delay = "high"
    """Look-ahead: what is heard after a frame before its words are committed. minimal 0.16 s, low 0.32, medium 0.64,
    high 1.28, xhigh 2.56."""
    chunk: float = 0.96
    """The model runs once for every chunk. The latency is chunk plus look-ahead."""
    left_context: float = 5.12
    """What the model hears again of the time before a chunk; more is slower, and more accurate up to what the model
    heard at once in training."""
    margin: float = PieceRules.margin
    """How much silence the model hears on either side of speech; the rest is left out."""
    pause: float = 0.3
    """Silence before which everything is committed at once. The model hears what follows without what came before:
    one that has learned from single utterances hears silence inside them badly."""
    after_word: float = 0.8
    """Silence that ends an utterance in which a word was heard."""
    without_word: float = 2.4
    """Silence that ends one in which no word was heard."""
    longest: float = 20.0
    """An utterance that is longer is cut, at the quietest pause between two committed words."""
    settled: float = 3.0
    """Seconds of speech after which the normalisation of an utterance is frozen."""
    vad: Detector = "energy"
    """What tells speech from silence: energy, or silero, a network that does not take other sounds for speech (extra
    wav2vec2[silero])."""

    def __post_init__(self) -> None:
        if self.delay not in LOOK_AHEAD:
            raise UserError(f"delay: {self.delay!r} is not one of {', '.join(LOOK_AHEAD)}")
        if self.vad not in get_args(Detector):
            raise UserError(f"vad: {self.vad!r} is not one of {', '.join(get_args(Detector))}")
        for name in ("chunk", "left_context", "margin", "pause", "after_word", "without_word", "longest", "settled"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise UserError(f"{name}: {value} must be a number of seconds, at least 0")
        if not 0.1 <= self.chunk <= 30 or self.left_context > 60 or self.longest > 300 or self.settled > 30:
            raise UserError(
                "chunk must be 0.1 to 30 seconds, left_context at most 60, longest at most 300, settled at most 30"
            )
        if self.after_word < 0.2 or self.without_word < 0.2 or self.longest < 2 * self.latency:
            raise UserError("after_word and without_word must be at least 0.2 s, longest at least twice the latency")
        if self.margin > min(self.pause, self.after_word) / 2:
            raise UserError("margin must be at most half of pause and of after_word")

    def suited(self, longest_heard: float | None, tuned: PieceSettings) -> "LiveSettings":
        """Return the settings for a model, and for how its recordings were found to be cut best.

        longest_heard: see `Wav2Vec2ForCTC`; no more is heard at once, and the margin is the one that suits pieces of
        that length. tuned: its margin and pause, within what is possible here, replace these.
        """
        pause = self.pause if tuned.pause is None else tuned.pause
        margin = suited_margin(longest_heard or LONGEST_UNKNOWN) if tuned.margin is None else tuned.margin
        left = self.left_context
        if longest_heard is not None:
            left = min(left, max(_LEAST_LEFT, longest_heard - self.latency))
        return replace(self, pause=pause, margin=min(margin, pause / 2, self.after_word / 2), left_context=left)

    @property
    def look_ahead(self) -> float:
        """Seconds of look-ahead."""
        return LOOK_AHEAD[self.delay]

    @property
    def latency(self) -> float:
        """The longest time in seconds from a frame to the commitment of its symbol, without the time to compute."""
        return self.chunk + self.look_ahead

    def frames(self, seconds: float, architecture: Architecture) -> int:
        """Return a duration in whole frames of a model."""
        return round(seconds * SAMPLE_RATE / architecture.stride)

    def advice(self) -> str | None:
        """Return a line that says what kind of model a low latency needs; None if any model will do."""
        if self.latency >= CHUNK_TRAINED_BELOW:
            return None
        return (
            f"a latency of {self.latency:.2f} s needs a model that was trained on chunks; others lose words below "
            f"{CHUNK_TRAINED_BELOW:g} s: choose --delay medium or high"
        )
