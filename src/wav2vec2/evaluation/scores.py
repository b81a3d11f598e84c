"""The results of an evaluation as values, as JSON and as text."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from wav2vec2.audio.recordings import Failure
from wav2vec2.errors import quoted
from wav2vec2.evaluation.calibration import Reliability, reliability_summary
from wav2vec2.text.error_rate import ErrorCounts, bootstrap_interval, character_tokens, side_by_side, word_tokens
from wav2vec2.text.normalize import is_spaceless_script

_NAMED = 10  # ids that are printed; the JSON file has all of them
_UNITS = {"wer": "words", "cer": "characters", "per": "phones"}


@dataclass(frozen=True)
class Score:
    """Error counts over all utterances, and the 95 % bootstrap interval of the error rate."""

    counts: ErrorCounts
    low: float
    high: float

    def as_json(self) -> dict[str, Any]:
        """Return plain values, with None for a rate that is undefined."""
        rates = {"rate": self.counts.rate, "low": self.low, "high": self.high}
        return {name: rate if math.isfinite(rate) else None for name, rate in rates.items()} | dataclasses.asdict(
            self.counts
        )


@dataclass(frozen=True)
class ScoredUtterance:
    """The two texts of an utterance, as they were compared, and its error counts."""

    id: str
    reference: str
    hypothesis: str
    words: ErrorCounts
    characters: ErrorCounts


@dataclass(frozen=True)
class EvaluationReport:
    """The result of `evaluate`.

    main: the score to look at: `cer` where most references are in scripts without spaces, `per` (phone error rate,
    stored in `wer`) where the symbols are separated by white space, else `wer`. worst: the utterances with the highest
    error rates. unalignable: ids of utterances with fewer frames than CTC needs for their labels and repeats. unknown:
    symbols of the references that the vocabulary lacks, with their counts. untranscribed: number of utterances without
    a reference; they are not scored, but those with an empty reference are. failures: utterances whose audio could not
    be read; they are not scored. folded: whether TIMIT's phones were folded to 39 before they were compared.
    of_case, of_punctuation: word errors that vanish if both texts are in small letters, and if punctuation is removed,
    too. reliability: how reliable the confidences of the words are; None if there are none.
    """

    utterances: int
    seconds: float
    main: Literal["wer", "cer", "per"]
    wer: Score
    cer: Score
    worst: tuple[ScoredUtterance, ...]
    unalignable: tuple[str, ...]
    unknown: dict[str, int]
    untranscribed: int
    failures: tuple[Failure, ...]
    folded: bool = False
    of_case: int = 0
    of_punctuation: int = 0
    reliability: Reliability | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file, with the worst utterances aligned."""
        worst = [
            {"id": u.id, "reference": u.reference, "hypothesis": u.hypothesis, "aligned": aligned(u)}
            for u in self.worst
        ]
        failures = [dataclasses.asdict(failure) for failure in self.failures]
        plain = {
            name: getattr(self, name)
            for name in ("utterances", "seconds", "main", "unalignable", "unknown", "untranscribed", "folded")
        } | {"of_case": self.of_case, "of_punctuation": self.of_punctuation}
        scores = {name: score.as_json() for name, score in self.scores().items()}
        reliability = None if self.reliability is None else self.reliability.as_json()
        return plain | scores | {"confidences": reliability, "worst": worst, "failures": failures}

    def scores(self) -> dict[str, Score]:
        """Return the scores by name, the main one first."""
        if self.main == "per":
            return {"per": self.wer}
        both = {"wer": self.wer, "cer": self.cer}
        return both if self.main == "wer" else dict(reversed(both.items()))


def total_score(counts: list[ErrorCounts], replications: int, seed: int) -> Score:
    """Add up the counts of utterances, and bootstrap the interval of their rate over utterances."""
    errors, references = [count.errors for count in counts], [count.reference for count in counts]
    low, high = bootstrap_interval(errors, references, replications=replications, seed=seed)
    return Score(sum(counts, ErrorCounts()), low, high)


def aligned(scored: ScoredUtterance) -> str:
    """Return the REF, HYP and EVAL lines of an utterance, by words, or by characters in scripts without spaces."""
    if is_spaceless_script(scored.reference):
        return side_by_side(
            character_tokens(scored.reference, spaces=False), character_tokens(scored.hypothesis, spaces=False)
        )
    return side_by_side(word_tokens(scored.reference), word_tokens(scored.hypothesis))


def report_text(report: EvaluationReport) -> str:
    """Return the report as text: the scores, the main one first, then warnings, then the worst utterances."""
    lines = [f"{report.utterances} utterances, {report.seconds / 3600:.2f} hours"]
    for name, score in report.scores().items():
        counts = score.counts
        lines.append(
            f"{name.upper()} {100 * counts.rate:6.2f} %  "
            f"95 % interval {100 * score.low:.2f} to {100 * score.high:.2f}  "
            f"substitutions {counts.substitutions}  deletions {counts.deletions}  insertions {counts.insertions}  "
            f"of {counts.reference} {_UNITS[name]}"
        )
    if report.reliability is not None:
        lines.append(reliability_summary(report.reliability))
    if report.folded:
        lines.append("both sides folded to 39 phones (Lee and Hon); --phones keep scores all of them")
    options = {"--case lower": report.of_case, "--punctuation remove": report.of_punctuation}
    if helpful := [f"{option} removes {errors}" for option, errors in options.items() if errors]:
        lines.append(f"word errors that are none to the ear: {', '.join(helpful)} of {report.wer.counts.errors}")
    if report.untranscribed:
        lines.append(f"{report.untranscribed} utterances without a transcript were skipped")
    if report.failures:
        lines.append(f"{len(report.failures)} utterances could not be read")
    if report.unalignable:
        more = " ..." if len(report.unalignable) > _NAMED else ""
        named = ", ".join(report.unalignable[:_NAMED])
        lines.append(f"{len(report.unalignable)} too short for CTC (frames < labels + repeats): {named}{more}")
    if report.unknown:
        shown = ", ".join(f"{quoted(symbol)} {count}" for symbol, count in list(report.unknown.items())[:_NAMED])
        lines.append(f"{sum(report.unknown.values())} symbols of the references are not in the vocabulary: {shown}")
    for scored in report.worst:
        rates = f"WER {100 * scored.words.rate:.0f} %, CER {100 * scored.characters.rate:.0f} %"
        if report.main == "per":
            rates = f"PER {100 * scored.words.rate:.0f} %"
        lines.extend(["", f"{scored.id}  {rates}", aligned(scored)])
    return "\n".join(lines)
