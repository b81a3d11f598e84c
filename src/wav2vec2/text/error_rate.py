"""Word and character error rates, their bootstrap intervals, and alignments that a person can read.

Distances come from kaldialign: each substitution, deletion and insertion costs 1.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import kaldialign
import numpy as np

from wav2vec2.errors import UserError
from wav2vec2.text.normalize import is_spaceless_script

_GAP = ""  # never a token
_BLOCK = 500_000  # units resampled at once: with few units, numpy's calls would cost more than their work


@dataclass(frozen=True)
class ErrorCounts:
    """Errors in one or more utterances. `reference` is the number of reference tokens; `+` adds two counts."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference: int = 0

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.reference + other.reference,
        )

    @property
    def errors(self) -> int:
        """The sum of substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference token. For an empty reference, 0 without errors and infinite with any."""
        if self.reference == 0:
            return float("inf") if self.errors else 0.0
        return self.errors / self.reference


def word_tokens(text: str) -> list[str]:
    """Bring text to NFC and split it at white space."""
    return unicodedata.normalize("NFC", text).split()


def character_tokens(text: str, *, spaces: bool = True) -> list[str]:
    """Split text into NFC code points; with `spaces`, the space between words is a token, too."""
    return list((" " if spaces else "").join(word_tokens(text)))


def count_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorCounts:
    """Count the edits in a shortest edit path from the tokens of `reference` to those of `hypothesis`."""
    counts = kaldialign.edit_distance(reference, hypothesis)
    return ErrorCounts(int(counts["sub"]), int(counts["del"]), int(counts["ins"]), len(reference))


def word_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Count word errors between two texts, which must be normalised in the same way."""
    return count_errors(word_tokens(reference), word_tokens(hypothesis))


def character_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Count character errors between two texts, which must be normalised in the same way.

    The space between words counts as a character, as in jiwer and transformers, unless the reference's script has no
    spaces.
    """
    spaces = not is_spaceless_script(reference)
    return count_errors(character_tokens(reference, spaces=spaces), character_tokens(hypothesis, spaces=spaces))


def bootstrap_interval(
    errors: Sequence[int], references: Sequence[int], *, replications: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the total error rate (Bisani and Ney, ICASSP 2004).

    Utterances are resampled as if those of one speaker were independent, so the interval tends to be too narrow.

    Args:
        errors: number of errors in each utterance.
        references: number of reference tokens in each utterance.
        replications: number of resamplings.
        seed: random seed of the resampling.
        level: confidence level of the interval.

    Returns:
        Lower and upper end, as fractions; (nan, nan) if there is no reference token.
    """
    wrong, total = np.asarray(errors, dtype=np.int64), np.asarray(references, dtype=np.int64)
    if total.sum() == 0:
        return float("nan"), float("nan")
    random = np.random.default_rng(seed)
    rates = np.empty(replications)
    for replication in range(replications):
        drawn = random.integers(0, len(total), len(total))
        rates[replication] = wrong[drawn].sum() / max(int(total[drawn].sum()), 1)
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """Error rate of system ``b`` minus that of ``a``: negative if ``b`` is better. Rates are fractions, not percent.

    low, high: 95 % interval of the difference. reduction: (a - b) / a, with its interval. better: fraction of the
    resamplings in which ``b`` has the lower rate. units: number of utterances or speakers that were resampled.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    reduction: float
    reduction_low: float
    reduction_high: float
    better: float
    units: int

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def paired_difference(
    errors_a: Sequence[int],
    errors_b: Sequence[int],
    references: Sequence[int],
    *,
    replications: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """Compare two systems by a paired bootstrap over utterances or speakers, the units (Bisani and Ney, ICASSP 2004).

    Utterances differ in difficulty far more than systems do. Resampling keeps each unit's errors under both systems
    together, so the interval is that of the difference and not of two separate rates.

    Args:
        errors_a: errors of system a in each unit.
        errors_b: errors of system b in each unit.
        references: number of reference tokens in each unit.
        replications: number of resamplings.
        seed: random seed of the resampling.
        level: confidence level of the intervals.

    Raises:
        UserError: there is no reference token at all.
    """
    a, b, total = (np.asarray(counts, dtype=np.float64) for counts in (errors_a, errors_b, references))
    if not total.sum() > 0:
        raise UserError("two systems cannot be compared: all reference texts are empty; score labelled speech")
    random = np.random.default_rng(seed)
    table = np.stack([a, b, total])
    rates = np.empty((replications, 2))
    block = max(1, _BLOCK // len(total))
    for first in range(0, replications, block):
        shape = (min(block, replications - first), len(total))
        sums = table[:, random.integers(0, len(total), shape)].sum(2)
        rates[first : first + block] = (sums[:2] / np.maximum(sums[2], 1.0)).T
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(rates[:, 1] - rates[:, 0], tails)
    reductions = 1 - rates[:, 1] / np.maximum(rates[:, 0], 1e-12)
    reduction_low, reduction_high = np.quantile(reductions, tails)
    rate_a, rate_b = a.sum() / total.sum(), b.sum() / total.sum()
    return Difference(
        a=float(rate_a),
        b=float(rate_b),
        difference=float(rate_b - rate_a),
        low=float(low),
        high=float(high),
        reduction=float(1 - rate_b / rate_a) if rate_a else 0.0,
        reduction_low=float(reduction_low),
        reduction_high=float(reduction_high),
        better=float(np.mean(rates[:, 1] < rates[:, 0])),
        units=len(total),
    )


def display_width(text: str) -> int:
    """Return the terminal columns of `text`: wide East Asian characters take two, combining marks and joiners none."""
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def side_by_side(reference: Sequence[str], hypothesis: Sequence[str], *, columns: int = 100) -> str:
    """Return two token lists, aligned, as lines REF, HYP and EVAL, in blocks of at most `columns` columns.

    EVAL marks substitutions, deletions and insertions by S, D and I. A missing token is shown as a run of `*`, a space
    as `␣`.
    """
    blocks: list[list[tuple[str, str, str]]] = [[]]
    used = 0
    for left, right in kaldialign.align(reference, hypothesis, _GAP):
        cell = _cell(left, right)
        width = max(map(display_width, cell)) + 1
        if blocks[-1] and used + width > columns - 6:
            blocks.append([])
            used = 0
        blocks[-1].append(cell)
        used += width
    return "\n\n".join(_block(block) for block in blocks)


def _cell(reference: str, hypothesis: str) -> tuple[str, str, str]:
    shown = [_visible(token) for token in (reference, hypothesis)]
    stars = "*" * max(map(display_width, shown))
    mark = "" if reference == hypothesis else "I" if reference == _GAP else "D" if hypothesis == _GAP else "S"
    return shown[0] or stars, shown[1] or stars, mark


def _visible(token: str) -> str:
    """Show a space as an open box, and put a lone combining mark on a dotted circle."""
    if token and all(unicodedata.category(char)[0] == "M" for char in token):
        return "\u25cc" + token
    return token.replace(" ", "\u2423")


def _block(cells: Sequence[tuple[str, str, str]]) -> str:
    lines = []
    for row, title in enumerate(("REF:  ", "HYP:  ", "EVAL: ")):
        padded = []
        for cell in cells:
            width = max(map(display_width, cell))
            padded.append(cell[row] + " " * (width - display_width(cell[row])))
        lines.append((title + " ".join(padded)).rstrip())
    return "\n".join(lines)
