"""The tables of the experiment with few labels: rates with intervals, the difference, speaker by speaker."""

from collections.abc import Mapping, Sequence

from wav2vec2.experiment.results.cell import Cell, Kind
from wav2vec2.experiment.results.paired_bootstrap import by_speaker, compare_cells, speakers_helped
from wav2vec2.experiment.results.paper import LOW_LABEL, WER
from wav2vec2.experiment.results.table import MISSING, Table, percent
from wav2vec2.experiment.scale import ARMS, TIERS
from wav2vec2.experiment.steps import LMS

Cells = Mapping[tuple[str, str], Cell]
"""By name of the row (TIER-ARM-sSEED) and language model."""
_ARM_NAMES = {"scratch": "from scratch", "pretrained": "pre-trained"}
_TITLES = {"greedy": "no LM", "ngram": "4-gram", "transformer": "Transformer"}
_TESTS = ("test-clean", "test-other")
_TIER_ORDER = ("10min", "1h", "all")


def tables(cells: Cells, rows: Sequence[tuple[str, str, str]], lms: Sequence[str]) -> list[Table]:
    """Everything that can be said so far; at least the first table, empty cells marked.

    rows: (tier, arm, seed) of all that is planned.
    """
    found = [rates(cells, "wer", rows, lms)]
    if cells:
        found += [rates(cells, "cer", rows, lms), differences(cells), speakers(cells)]
    return [table for table in found if table.rows]


def rates(cells: Cells, kind: Kind, planned: Sequence[tuple[str, str, str]], lms: Sequence[str]) -> Table:
    """A row for each amount of labels, arm and seed; a column for each language model and split; the paper's below."""
    titles = {lm: _TITLES[lm] for lm in lms} | _titles(cells)
    tests = list(dict.fromkeys(split for cell in cells.values() for split in cell.splits())) or [
        "test-clean",
        "test-other",
    ]
    tests = sorted(tests, key=lambda name: (name not in ("test-clean", "test-other"), name))
    header = ("labels", "model", "seed", *(f"{titles[lm]}: {split}" for lm in titles for split in tests))
    rows: list[tuple[str, ...]] = []
    for tier in _TIER_ORDER:
        chosen = [(arm, seed) for planned_tier, arm, seed in planned if planned_tier == tier]
        for arm, seed in sorted(chosen, key=lambda row: (int(row[1]), -ARMS.index(row[0]))):
            found = [cells.get((f"{tier}-{arm}-s{seed}", lm)) for lm in titles]
            scores = [percent(cell.score(kind, split) if cell else None) for cell in found for split in tests]
            rows.append((tier, _ARM_NAMES[arm], seed, *scores))
        if kind == "wer" and chosen:
            rows.append((tier, f"paper: BASE, {LOW_LABEL[tier]}", "", *_paper(tier, tuple(titles), tests)))
    caption = f"{kind.upper()} in percent with its 95 % bootstrap interval over utterances"
    if kind == "wer":
        caption += "; the paper's BASE (pre-trained on 960 hours) for orientation"
    return Table(header, tuple(rows), caption, "Word error rate" if kind == "wer" else "Character error rate")


def differences(cells: Cells) -> Table:
    """Pre-trained against from scratch: all test splits and seeds pooled, paired."""
    titles = _titles(cells)
    rows: list[tuple[str, ...]] = []
    for tier in _TIER_ORDER:
        for lm, title in titles.items():
            pairs = _pairs(cells, tier, lm)
            for kind in ("wer", "cer") if pairs else ():
                scratch, pretrained = zip(*pairs, strict=True)
                found = compare_cells(scratch, pretrained, kind)
                whole = compare_cells(scratch, pretrained, kind, unit="speaker")
                rows.append(
                    (
                        tier,
                        title,
                        kind.upper(),
                        f"{100 * found.a:.1f}",
                        f"{100 * found.b:.1f}",
                        f"{100 * found.difference:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]",
                        f"[{100 * whole.low:+.1f}, {100 * whole.high:+.1f}]",
                        f"{100 * found.reduction:.1f} % "
                        f"[{100 * found.reduction_low:.1f}, {100 * found.reduction_high:.1f}]",
                        "yes" if found.certain and found.difference < 0 else "no",
                        str(len(pairs)),
                    )
                )
    header = ("labels", "decoding", "rate", "from scratch", "pre-trained", "difference", "by speakers", "reduction")
    caption = (
        "Pre-trained minus from scratch, all test splits pooled (below zero: pre-training helps); 95 % intervals of a "
        "paired bootstrap over utterances, and over whole speakers"
    )
    return Table((*header, "lower for certain", "seeds"), tuple(rows), caption, "What pre-training gains")


def speakers(cells: Cells) -> Table:
    """How many speakers pre-training helps, and the extremes, for the first seed and the best language model."""
    rows: list[tuple[str, ...]] = []
    titles = _titles(cells)
    for tier in _TIER_ORDER:
        for lm in reversed(titles):
            pairs = _pairs(cells, tier, lm)
            if not pairs:
                continue
            found = by_speaker(*pairs[0], "wer")
            helped, same, hurt = speakers_helped(found)
            for row in found:
                rows.append(
                    (
                        tier,
                        titles[lm],
                        f"{helped} better, {same} same, {hurt} worse",
                        row.speaker or MISSING,
                        row.split,
                        str(row.utterances),
                        f"{100 * row.a:.1f}",
                        f"{100 * row.b:.1f}",
                        f"{100 * (row.b - row.a):+.1f}",
                    )
                )
            break
    header = ("labels", "decoding", "speakers", "speaker", "split", "utterances", "from scratch", "pre-trained")
    caption = "WER in percent speaker by speaker, the largest gain first"
    return Table((*header, "difference"), tuple(rows), caption, "Speaker by speaker")


def _pairs(cells: Cells, tier: str, lm: str) -> list[tuple[Cell, Cell]]:
    """(from scratch, pre-trained) of every seed that has both."""
    seeds = sorted({cell.row["seed"] for cell in cells.values() if cell.row["tier"] == tier}, key=int)
    found = []
    for seed in seeds:
        scratch, pretrained = (cells.get((f"{tier}-{arm}-s{seed}", lm)) for arm in ("scratch", "pretrained"))
        if scratch and pretrained:
            found.append((scratch, pretrained))
    return found


def _titles(cells: Cells) -> dict[str, str]:
    """How the tables call each language model that was used, in the paper's order."""
    found: dict[str, str] = {}
    for lm in LMS:
        titles = [cell.title for cell in cells.values() if cell.lm == lm]
        if titles:
            found[lm] = titles[0]
    return found


def _paper(tier: str, lms: Sequence[str], tests: Sequence[str]) -> list[str]:
    row = WER[LOW_LABEL[tier], "base"]
    found = []
    for lm in lms:
        rates_ = getattr(row, lm)
        for split in tests:
            value = getattr(rates_, split.replace("-", "_"), None)
            found.append(MISSING if value is None else f"{value:.1f}")
    return found


assert set(_TIER_ORDER) == set(TIERS)
