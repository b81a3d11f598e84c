"""The plateau of CTC: for its first updates a recogniser writes blanks alone. How long, by encoder and way of training.

Every number has a source, which the warning names: this project's own runs with small encoders (docs/log.md, 2026-11-25
and 2026-11-26), and guides of Hugging Face (huggingface/blog) with 32 recordings an update: fine-tune-wav2vec2-english
(BASE, 4 h of English), fine-tune-xlsr-wav2vec2 (XLS-R 300M, 6 h of Turkish) and mms_adapters (MMS 1B, 4 h of Turkish).
"""

from dataclasses import dataclass
from typing import Literal

Way = Literal["auto", "everything", "context", "adapters", "lora"]
ENOUGH = 1_200
"""Updates of fine-tuning after which one of this project's weak encoders still wrote nothing, and the best had written
for 750; published ones write by then, though not well.
"""
SMALL_PARAMETERS = 30_000_000
"""Encoders with fewer are like this package's small ones; published ones have 90 million and more."""
_BASE_PARAMETERS = 200_000_000
_LARGER_PARAMETERS = 600_000_000
_PAPER = "the paper takes 12,000 to 20,000 for ten minutes to ten hours of labels"


@dataclass(frozen=True)
class Plateau:
    """enough: fewer updates are warned of. nothing: with fewer, perhaps nothing at all is written. known: why."""

    enough: int
    nothing: int
    known: str

    def warning(self, updates: int, takes: str = "", *, given: bool) -> str:
        """Return a warning of fewer updates than are enough; "" if they are enough.

        takes: how long training with enough takes, in words. given: the user gave the number; it was not cut to a time.
        """
        if updates >= self.enough:
            return ""
        time = f", about {takes} here" if takes else ""
        remedy = f"give --updates {self.enough} or more{time}"
        if not given:
            remedy = f"give more --hours ({self.enough} updates{time})"
        few = "may be too few for the recogniser to write anything at all"
        if updates >= self.nothing:
            few = "are few, and the recogniser will be poor"
        return f"warning: {updates} updates {few}: {self.known}; {remedy}, or use a GPU or a smaller encoder"


def plateau(parameters: int, way: Way = "auto", *, writes: bool = False) -> Plateau:
    """Return what is known.

    Args:
        parameters: of the encoder.
        way: what is trained; auto is all of small encoders, and all but the convolutions of others.
        writes: the model that training starts from is a recogniser, not an encoder alone.
    """
    if way == "lora":
        return Plateau(ENOUGH, ENOUGH, f"how many LoRA takes is not known; without it, {_of(parameters)}")
    if way == "adapters":
        learned = "adapters on MMS 1B, which writes other languages already, had 28 % WER after 100 and 22 % after 400"
        if writes:
            return Plateau(400, 100, learned)
        return Plateau(ENOUGH, ENOUGH, f"how many adapters take on an encoder that never wrote is not known; {learned}")
    known = f"{_of(parameters)}, and {_PAPER}"
    if parameters < SMALL_PARAMETERS:
        return Plateau(ENOUGH, ENOUGH, known)
    return Plateau(ENOUGH, 500 if parameters < _BASE_PARAMETERS else 400, known)


def _of(parameters: int) -> str:
    if parameters < SMALL_PARAMETERS:
        return f"small encoders wrote nothing for their first 450 to {ENOUGH:,} updates here"
    if parameters < _BASE_PARAMETERS:
        return "BASE had 95 % WER after 500 and 39 % after 1,000 in the guide of Hugging Face"
    guide = "XLS-R 300M had 70 % WER after 400 and 42 % after 1,200 in the guide of Hugging Face"
    return guide + (" (of larger encoders no such numbers are known)" if parameters >= _LARGER_PARAMETERS else "")
