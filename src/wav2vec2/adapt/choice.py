"""What ``wav2vec2 adapt`` chooses from the hours of speech, the encoder and the machine, and why.

The rules, in one place:

- Fine-tuning hears ten minutes of labels 40 times, an hour 22 times, ten hours 10 times: 40 (600 s / labels)^(1/3).
  The first two are measured with SMALL (docs/log.md, 2026-11-26); between and beyond, the rule goes through them. It
  gives no fewer updates than the plateau of CTC may last; where the user or the time wants fewer, a line warns.
- Continued pre-training needs an hour of untranscribed speech, and hears it ten times. Whether it helped is decided by
  the held-out speakers, unless the encoder is new.
- Training takes at most ``hours`` by the operations of the model, at 60 % of what the processor reaches in plain
  products. What is too much is cut: continued pre-training first, and it is left out below a third of its updates.
"""

from dataclasses import asdict, dataclass, replace
from typing import Literal

from wav2vec2.adapt.plateau import ENOUGH, SMALL_PARAMETERS, Way, plateau

PretrainWhen = Literal["auto", "always", "never"]
LEAST_UNTRANSCRIBED = 3600.0
"""Seconds of untranscribed speech that pre-training is continued on."""
_LEAST_FROM_NOTHING = 600.0
_HEARD_AGAIN = 10.0
_TEN_MINUTES, _TIMES = 600.0, 40.0
_LEAST_UPDATES, _MOST_UPDATES = 200, 30_000
_WORTH_IT = 1 / 3
_RULE = f"40 times at 10 min, 22 at 1 h, 10 at 10 h, but at least {ENOUGH} updates"
_VALIDATIONS = 8


@dataclass(frozen=True)
class Facts:
    """What the choice depends on. Lengths of speech in seconds; rates in seconds of speech a second.

    from_nothing: the encoder is new. parameters: of the encoder. accelerated: there is a GPU. trained, continued: how
    fast the machine fine-tunes and pre-trains this encoder. writes: it is that of a recogniser.
    """

    labels: float
    untranscribed: float
    from_nothing: bool
    parameters: int
    accelerated: bool
    trained: float
    continued: float
    writes: bool = False


@dataclass(frozen=True)
class Wishes:
    """What the user has decided. 0: not decided."""

    updates: int = 0
    pretrain_updates: int = 0
    pretrain: PretrainWhen = "auto"
    hours: float = 12.0
    self_training: int = 0
    way: Way = "auto"


@dataclass(frozen=True)
class Choice:
    """Numbers of updates, seconds of speech in each, the expected time in seconds, and lines that say why."""

    size: Literal["small", "published"]
    pretrain: bool
    compare: bool
    pretrain_updates: int
    pretrain_seconds: float
    updates: int
    batch_seconds: float
    self_updates: int
    micro_seconds: float
    expected: float
    validate_every: int = 1
    lines: tuple[str, ...] = ()

    def values(self) -> dict[str, object]:
        """For the stage's file of values."""
        return asdict(self) | {"lines": list(self.lines)}


def choose(facts: Facts, wishes: Wishes) -> Choice:
    """Choose; see the top of this file."""
    small = facts.parameters < SMALL_PARAMETERS
    batch = 20.0 if small else 160.0 if facts.accelerated else 40.0
    heard_at_once = 48.0 if small else 1200.0
    lines = [_model_line(facts, small)]
    updates = wishes.updates or _updates(facts.labels, batch)
    half = facts.labels + facts.untranscribed / 2
    pretrain, why = _whether(facts, wishes)
    pretrain_updates = wishes.pretrain_updates or _pretrain_updates(facts.untranscribed + facts.labels, heard_at_once)
    choice = Choice(
        size="small" if small else "published",
        pretrain=pretrain,
        compare=pretrain and not facts.from_nothing and wishes.pretrain == "auto",
        pretrain_updates=pretrain_updates,
        pretrain_seconds=heard_at_once,
        updates=updates,
        batch_seconds=batch,
        self_updates=wishes.updates or _updates(half, batch),
        micro_seconds=min(batch, 20.0 if small else 40.0),
        expected=0.0,
    )
    choice, cut = _within(choice, facts, wishes)
    if pretrain and not choice.pretrain:
        why += f", but less than a third of it would fit into --hours {wishes.hours:g}"
    times = choice.updates * batch / max(facts.labels, 1.0)
    lines.append(
        f"fine-tuning: {choice.updates} updates of {batch:g} s on {facts.labels / 60:.1f} min of labels, each heard "
        f"{times:.0f} times ({'--updates' if wishes.updates else _RULE})"
    )
    lines.append(_pretrain_line(choice, facts, why))
    lines += cut
    lines.append(f"expected time of training: about {_time(choice.expected)}, if nothing else runs here")
    known = plateau(facts.parameters, wishes.way, writes=facts.writes)
    takes = _time(_expected(replace(choice, updates=known.enough), facts, wishes))
    if warning := known.warning(choice.updates, takes, given=bool(wishes.updates)):
        lines.append(warning)
    every = max(1, choice.updates // _VALIDATIONS)
    return replace(choice, validate_every=every, lines=tuple(lines))


def _updates(labels: float, batch: float) -> int:
    times: float = _TIMES * (_TEN_MINUTES / max(labels, 1.0)) ** (1 / 3)
    return round(min(max(labels * times / batch, ENOUGH), _MOST_UPDATES))


def _pretrain_updates(seconds: float, batch: float) -> int:
    return round(min(max(_HEARD_AGAIN * seconds / batch, _LEAST_UPDATES), 100_000))


def _whether(facts: Facts, wishes: Wishes) -> tuple[bool, str]:
    least = _LEAST_FROM_NOTHING if facts.from_nothing else LEAST_UNTRANSCRIBED
    if wishes.pretrain == "never":
        return False, "--pretrain never"
    if not facts.untranscribed:
        return False, "there is no untranscribed speech"
    if wishes.pretrain == "always":
        return True, "--pretrain always"
    have = f"{facts.untranscribed / 3600:.2f} h of untranscribed speech"
    if facts.untranscribed < least:
        return False, f"{have} are fewer than {least / 3600:.2g} h"
    return True, have


def _within(choice: Choice, facts: Facts, wishes: Wishes) -> tuple[Choice, list[str]]:
    """Cut what would take longer than the user allows; numbers that the user has given stay."""
    expected = _expected(choice, facts, wishes)
    limit = 3600 * wishes.hours
    if not limit or expected <= limit:
        return replace(choice, expected=expected), []
    lines = [f"that would take about {_time(expected)}: cut to --hours {wishes.hours:g}"]
    if choice.pretrain and not wishes.pretrain_updates:
        without = replace(choice, pretrain_updates=0, compare=choice.compare)
        left = max(0.0, limit - _expected(without, facts, wishes))
        if facts.from_nothing:
            left = max(left, limit / 2)
        share = left / (choice.pretrain_updates * choice.pretrain_seconds / facts.continued)
        if share < _WORTH_IT and not facts.from_nothing and wishes.pretrain != "always":
            choice = replace(choice, pretrain=False, compare=False)
        elif share < 1:
            choice = replace(choice, pretrain_updates=max(1, round(choice.pretrain_updates * share)))
    expected = _expected(choice, facts, wishes)
    if expected > limit and not wishes.updates:
        fixed = _expected(replace(choice, updates=0, self_updates=0), facts, wishes)
        share = max(0.0, limit - fixed) / (expected - fixed)
        fewer = max(_LEAST_UPDATES, round(choice.updates * share))
        choice = replace(
            choice,
            updates=min(choice.updates, fewer),
            self_updates=min(choice.self_updates, max(_LEAST_UPDATES, round(choice.self_updates * share))),
        )
    return replace(choice, expected=_expected(choice, facts, wishes)), lines


def _expected(choice: Choice, facts: Facts, wishes: Wishes) -> float:
    """Seconds of training."""
    runs = (2 if choice.compare else 1) * choice.updates + wishes.self_training * choice.self_updates
    seconds = runs * choice.batch_seconds / facts.trained
    if choice.pretrain:
        seconds += choice.pretrain_updates * choice.pretrain_seconds / facts.continued
    return seconds


def _model_line(facts: Facts, small: bool) -> str:
    kind = "settings of small models" if small else "settings of published encoders"
    return (
        f"encoder: {facts.parameters / 1e6:.1f} M parameters, {kind}; this machine trains it on about "
        f"{facts.trained:.3g} s of speech a second ({'GPU' if facts.accelerated else 'CPU'}, by its operations)"
    )


def _pretrain_line(choice: Choice, facts: Facts, why: str) -> str:
    name = "pre-training" if facts.from_nothing else "continued pre-training"
    if not choice.pretrain:
        return f"{name}: none ({why})"
    judged = "; kept only if the held-out speakers are recognised better with it" if choice.compare else ""
    return f"{name}: {choice.pretrain_updates} updates of {choice.pretrain_seconds:g} s ({why}){judged}"


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{max(1, round(seconds / 60))} min"
