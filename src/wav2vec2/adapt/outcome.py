"""What a finished adaptation has to say: error rates with intervals, hours of speech, and what was chosen."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wav2vec2.adapt.plan import CHOOSE, DIVIDE, EVALUATE, Adaptation
from wav2vec2.adapt.plateau import ENOUGH
from wav2vec2.checkpoints.hub import fetch, is_hub_id
from wav2vec2.errors import UserError
from wav2vec2.input_file import parse_json, read_input

CARD = "README.md"
_WRITES_NOTHING = 0.9
"""Share of the test's text that is missing, above which a recogniser is said to write next to nothing."""
_USELESS = {"wer": 0.98, "cer": 0.9, "per": 0.9}
"""Error rates from which a recogniser gets hardly anything right. Letters at random are right more often than words."""


@dataclass(frozen=True)
class Rate:
    """An error rate as fractions, with its 95 % interval. missing: share of the words or characters not written."""

    rate: float
    low: float
    high: float
    missing: float = 0.0

    def text(self) -> str:
        """In per cent."""
        return f"{100 * self.rate:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


@dataclass(frozen=True)
class Outcome:
    """rates: by split, way of decoding and score. main: the score to look at. columns: ways of decoding, greedy first.

    best: the way that recognises the held-out speakers best. divided, chosen: values of these stages. kept: which
    fine-tuning was kept, by stage.
    """

    rates: Mapping[str, Mapping[str, Mapping[str, Rate]]]
    main: str
    columns: tuple[str, ...]
    best: str
    divided: Mapping[str, Any]
    chosen: Mapping[str, Any]
    kept: Mapping[str, Mapping[str, Any]]

    @property
    def with_lm(self) -> bool:
        """Whether the language model helps on the held-out speakers."""
        return self.best != self.columns[0]

    def minutes(self, part: str) -> float:
        """Minutes of train, valid, test or untranscribed."""
        return float(self.divided.get(f"{part}_seconds", 0.0)) / 60

    def failure(self, source: str) -> str:
        """Return what to say, and what to do, of a recogniser that gets hardly anything right; "" of any other.

        What counts is its own output on the speakers of test, without a language model. source: the encoder.
        """
        greedy = self.rates["test"][self.columns[0]]
        unit = {"wer": "words", "cer": "characters", "per": "phones"}[self.main]
        wrong = greedy[self.main].rate
        if not wrong >= _USELESS[self.main]:
            return ""
        smallest = min(rate.missing for rate in greedy.values())
        writes = " It writes next to nothing." if smallest >= _WRITES_NOTHING else ""
        updates = int(self.chosen.get("updates", 0))
        return (
            f"This is no usable recogniser yet: without a language model, {100 * wrong:.0f} % of the {unit} of people "
            f"whom it has not heard are wrong.{writes} What helps: {_more_updates(updates)}"
            f"{_better_encoder(source)}more transcripts."
        )

    def tested(self) -> Mapping[str, Rate]:
        """The scores on test of the best way."""
        return self.rates["test"][self.best]


def read_outcome(adaptation: Adaptation) -> Outcome:
    """Collect the outcome of a plan whose stages are done. Raises UserError if a file is damaged."""
    plan = adaptation.plan
    path = plan.result(EVALUATE)
    try:
        report = parse_json(read_input(path))
        rates = {
            split: {column: {name: _rate(score) for name, score in scores.items()} for column, scores in row.items()}
            for split, row in report["table"].items()
            if split in ("valid", "test")
        }
        main, columns = str(report["main"]), tuple(rates["test"])
        by_valid = {column: rates["valid"][column]["wer" if main == "per" else main].rate for column in columns}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: is damaged; delete its folder and run the same command again") from None
    best = min(columns, key=lambda column: by_valid[column])
    kept = {
        stage.name: plan.values(stage.name)
        for stage in plan.stages
        if stage.name.startswith("recogniser") and plan.done(stage.name)
    }
    return Outcome(rates, main, columns, best, plan.values(DIVIDE), plan.values(CHOOSE), kept)


def _rate(score: Mapping[str, Any]) -> Rate:
    rate, low, high = (float("nan" if score[name] is None else score[name]) for name in ("rate", "low", "high"))
    return Rate(rate, low, high, score["deletions"] / max(1, score["reference"]))


def _more_updates(updates: int) -> str:
    more = max(ENOUGH, 2 * updates)
    return f"more updates of fine-tuning than {updates} (--updates {more}, and --hours 0 if it may take its time); "


def _better_encoder(source: str) -> str:
    """A published encoder is on the hub, as `adapt` wants it; one from a folder may be anything."""
    if is_hub_id(source) and not Path(source).exists():
        return "an encoder that has heard your language or one like it (--from); "
    return "an encoder that has heard more (--from facebook/wav2vec2-xls-r-300m or facebook/mms-300m); "


def base_licence(source: str) -> str:
    """The licence in the card (README.md) of a model directory or a model of the hub; "unknown" if none says it."""
    card = Path(source) / CARD
    if not Path(source).exists() and is_hub_id(source):
        with suppress(UserError):  # a card is not needed to use a model
            card = fetch(source, only=(CARD,)) / CARD
    try:
        lines = card.read_text(encoding="utf-8", errors="replace").splitlines() if card.is_file() else []
    except OSError:
        return "unknown"
    if lines[:1] == ["---"] and "---" in lines[1:]:
        for line in lines[1 : lines.index("---", 1)]:
            name, _, value = line.partition(":")
            if name == "license" and value.strip():
                return value.strip().strip("'\"")
    return "unknown"
