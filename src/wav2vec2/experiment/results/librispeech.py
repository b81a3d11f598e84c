"""Tables 1, 2, 9 and 10 of the paper with our numbers beside its own."""

from collections.abc import Mapping, Sequence

from wav2vec2.experiment.results.cell import Cell
from wav2vec2.experiment.results.paper import MODELS, WER
from wav2vec2.experiment.results.table import MISSING, Table, percent

Cells = Mapping[tuple[str, str], Cell]
_TITLES = {"greedy": "none", "ngram": "4-gram", "transformer": "Transformer"}
_SPLITS = ("dev-clean", "dev-other", "test-clean", "test-other")


def tables(cells: Cells, amounts: Sequence[str], models: Sequence[str], lms: Sequence[str]) -> list[Table]:
    """A row for each amount of labels, model and language model; splits that the paper lacks stand behind its own."""
    present = list(dict.fromkeys(split for cell in cells.values() for split in cell.splits()))
    others = [split for split in present if split not in _SPLITS]
    columns = [split for split in _SPLITS if split in present or not present]
    rows = []
    for amount in amounts:
        for model in models:
            theirs = WER[amount, model]
            for lm in lms:
                cell = cells.get((f"{amount}-{model}", lm))
                ours: list[str] = []
                for split in columns:
                    paper = getattr(getattr(theirs, lm), split.replace("-", "_"))
                    ours += [percent(cell.score("wer", split)) if cell else MISSING, f"{paper:.1f}"]
                ours += [percent(cell.score("wer", split)) if cell else MISSING for split in others]
                rows.append((amount, MODELS[model], _TITLES[lm], *ours))
    pairs = [name for split in columns for name in (split, "paper")]
    caption = "WER in percent with its 95 % bootstrap interval, the paper's beside it"
    return [Table(("labels", "model", "LM", *pairs, *others), tuple(rows), caption)]
