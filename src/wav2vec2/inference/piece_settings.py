"""How recordings are cut into pieces for a model, as options, a preset and the model say."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from wav2vec2.audio.pieces import SHORTEST_LONGEST, PieceRules
from wav2vec2.inference.windows import WindowSizes

Statistics: TypeAlias = Literal["piece", "recording"]

LONGEST_UNKNOWN = 20.0
"""Seconds of the longest piece for a model that does not say what it has heard. Nearly all utterances of LibriSpeech,
with which most published models were fine-tuned, are shorter."""


@dataclass(frozen=True)
class PieceSettings:
    """See `ComputeOptions`; all lengths in seconds. None: not chosen."""

    pieces: Literal["speech", "none"] = "speech"
    longest: float | None = None
    pause: float | None = None
    margin: float | None = None
    statistics: Statistics | None = None

    def over(self, other: "PieceSettings") -> "PieceSettings":
        """Return these settings, and those of `other` where nothing is chosen here."""
        return PieceSettings(
            self.pieces,
            other.longest if self.longest is None else self.longest,
            other.pause if self.pause is None else self.pause,
            other.margin if self.margin is None else self.margin,
            self.statistics or other.statistics,
        )

    def rules(self, longest_heard: float | None, sizes: WindowSizes) -> PieceRules | None:
        """Return the rules for a model, None for windows over everything. Raises UserError for impossible values.

        longest_heard: see `Wav2Vec2ForCTC`.
        """
        longest = self.longest
        if longest is None:
            longest = max(SHORTEST_LONGEST, min(longest_heard or LONGEST_UNKNOWN, sizes.window))
        plain = PieceRules(longest=longest, context=sizes.context)
        rules = PieceRules(
            longest,
            plain.pause if self.pause is None else self.pause,
            plain.margin if self.margin is None else self.margin,
            sizes.context,
        )
        return rules if self.pieces == "speech" else None
