"""The table of the ablations: ours beside the paper's, and whether the order is the same."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from wav2vec2.experiment.results.cell import Cell
from wav2vec2.experiment.results.paired_bootstrap import compare_cells
from wav2vec2.experiment.results.paper import ABLATION
from wav2vec2.experiment.results.table import MISSING, Table, percent

Cells = Mapping[tuple[str, str], Cell]


def tables(cells: Cells, names: Sequence[str], accuracies: Mapping[str, float]) -> list[Table]:
    """The variants in their order, compared with the first one, and the pairs of the paper's order."""
    found = {name: _of(cells, name, "ngram") for name in names}
    first = found[names[0]]
    tests = sorted({split for cell in cells.values() for split in cell.splits()}) or ["dev"]
    rows = []
    for name in names:
        ours = found[name]
        paper = ABLATION.get(name)
        accuracy = f"{100 * accuracies[name]:.1f}" if name in accuracies else MISSING
        difference = _difference(first, ours) if first and ours and name != names[0] else MISSING
        shown = [_rate(_of(cells, name, "greedy")), _rate(ours), difference]
        splits = [percent(ours[0].score("wer", split)) if ours else MISSING for split in tests]
        rows.append((name, *shown, *splits, accuracy, MISSING if paper is None else f"{paper:.2f}", str(len(ours))))
    header = ("variant", "no LM", "4-gram", f"minus {names[0]}", *tests, "accuracy", "paper", "seeds")
    caption = (
        "WER in percent, all splits scored together: without and with the 4-gram, the paired difference to the first "
        "variant with its 95 % interval, each split of the first seed; accuracy of the contrastive task on held-out "
        "speech; the paper's WER (BASE, dev-clean and dev-other)"
    )
    return [table for table in (Table(header, tuple(rows), caption), _order(found)) if table.rows]


def _of(cells: Cells, name: str, lm: str) -> list[Cell]:
    """All seeds of a variant, in their order."""
    chosen = [cell for cell in cells.values() if cell.row.get("variant") == name and cell.lm == lm]
    return sorted(chosen, key=lambda cell: int(cell.row["seed"]))


def _rate(cells: Sequence[Cell]) -> str:
    """Mean over seeds, with their standard deviation where there are several."""
    if not cells:
        return MISSING
    rates = [100 * cell.score("wer").counts.rate for cell in cells]
    mean = sum(rates) / len(rates)
    if len(rates) == 1:
        return f"{mean:.1f}"
    deviation = (sum((rate - mean) ** 2 for rate in rates) / (len(rates) - 1)) ** 0.5
    return f"{mean:.1f} ({deviation:.1f})"


def _difference(first: Sequence[Cell], ours: Sequence[Cell]) -> str:
    found = compare_cells(first, ours, "wer")
    return f"{100 * found.difference:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def _order(found: Mapping[str, list[Cell]]) -> Table:
    """Every pair that the paper ranks: does ours rank it alike, and is that certain?"""
    rows = []
    known = [name for name in found if ABLATION.get(name) is not None and found[name]]
    for a, b in combinations(known, 2):
        theirs = float(ABLATION[b] or 0) - float(ABLATION[a] or 0)
        if not theirs:
            continue
        better, worse = (a, b) if theirs > 0 else (b, a)
        pair = compare_cells(found[better], found[worse], "wer")
        same = "yes" if pair.difference > 0 else "no"
        ours = f"{100 * pair.difference:+.1f} [{100 * pair.low:+.1f}, {100 * pair.high:+.1f}]"
        rows.append((better, worse, f"{abs(theirs):+.2f}", ours, same, "yes" if pair.certain else "no"))
    header = ("better in the paper", "worse in the paper", "paper", "ours", "same order", "certain")
    caption = "Every pair that the paper ranks: differences of WER in percent, worse minus better, with 95 % intervals"
    return Table(header, tuple(rows), caption, "Does the paper's order hold?")
