"""The tables of the experiments: our error rates compared with the paper's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from wav2vec2.evaluation.scores import Score
from wav2vec2.evaluation.table import lines_of_columns
from wav2vec2.experiment.cell import Cell, Kind, by_speaker, compare_cells, speakers_helped
from wav2vec2.experiment.paper import ABLATION, LOW_LABEL, MODELS, TIMIT, WER
from wav2vec2.experiment.scale import ARMS
from wav2vec2.experiment.steps import LMS
from wav2vec2.text.error_rate import Difference

Cells = Mapping[tuple[str, str], Cell]
"""Cells by the name of their row and their language model."""

MISSING = "-"
_ARMS = {"scratch": "from scratch", "pretrained": "pre-trained"}
_LMS = {"greedy": "no LM", "ngram": "4-gram", "transformer": "Transformer"}
_TIERS = ("10min", "1h", "all")
_TESTS = ("test-clean", "test-other")
_SPLITS = ("dev-clean", "dev-other", *_TESTS)


@dataclass(frozen=True)
class Table:
    """A table with its caption, and the heading above it in a report. All rows have as many cells as the header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    title: str = "Results"

    def text(self) -> str:
        """The table in aligned columns for the console, below its caption."""
        lines = lines_of_columns([self.header, *self.rows], rule=True)
        return "\n".join([*([self.caption] if self.caption else []), *lines])


def percent(score: Score | None) -> str:
    """A rate in percent with its 95 % interval in brackets."""
    if score is None:
        return MISSING
    return f"{100 * score.counts.rate:.1f} [{100 * score.low:.1f}, {100 * score.high:.1f}]"


def _signed(found: Difference) -> str:
    return f"{100 * found.difference:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def low_label_tables(cells: Cells, rows: Sequence[tuple[str, str, str]], lms: Sequence[str]) -> list[Table]:
    """Error rates with and without pre-training, their differences, and the gain of each speaker.

    Args:
        cells: what has been scored so far.
        rows: (tier, arm, seed) of everything that is planned; what has not been scored is marked as missing.
        lms: keys of the planned language models.
    """
    found = [_rates(cells, "wer", rows, lms)]
    if cells:
        found += [_rates(cells, "cer", rows, lms), _differences(cells), _speakers(cells)]
    return [table for table in found if table.rows]


def _rates(cells: Cells, kind: Kind, planned: Sequence[tuple[str, str, str]], lms: Sequence[str]) -> Table:
    """A row for each amount of labels, arm and seed; a column for each language model and split."""
    titles = {lm: _LMS[lm] for lm in lms} | _lm_titles(cells)
    tests = list(dict.fromkeys(split for cell in cells.values() for split in cell.splits())) or list(_TESTS)
    tests = sorted(tests, key=lambda name: (name not in _TESTS, name))
    header = ("labels", "model", "seed", *(f"{titles[lm]}: {split}" for lm in titles for split in tests))
    rows: list[tuple[str, ...]] = []
    for tier in _TIERS:
        chosen = [(arm, seed) for planned_tier, arm, seed in planned if planned_tier == tier]
        for arm, seed in sorted(chosen, key=lambda row: (int(row[1]), -ARMS.index(row[0]))):
            found = [cells.get((f"{tier}-{arm}-s{seed}", lm)) for lm in titles]
            scores = [percent(cell.score(kind, split) if cell else None) for cell in found for split in tests]
            rows.append((tier, _ARMS[arm], seed, *scores))
        if kind == "wer" and chosen:
            rows.append((tier, f"paper: BASE, {LOW_LABEL[tier]}", "", *_paper_rates(tier, tuple(titles), tests)))
    caption = f"{kind.upper()} in percent with its 95 % bootstrap interval over utterances"
    if kind == "wer":
        caption += "; for orientation, the paper's BASE (pre-trained on 960 hours)"
    return Table(header, tuple(rows), caption, "Word error rate" if kind == "wer" else "Character error rate")


def _paper_rates(tier: str, lms: Sequence[str], tests: Sequence[str]) -> list[str]:
    row = WER[LOW_LABEL[tier], "base"]
    found = [getattr(getattr(row, lm), split.replace("-", "_"), None) for lm in lms for split in tests]
    return [MISSING if rate is None else f"{rate:.1f}" for rate in found]


def _differences(cells: Cells) -> Table:
    """Pre-trained against from scratch, paired; all test splits and seeds are pooled."""
    rows: list[tuple[str, ...]] = []
    kinds: tuple[Kind, ...] = ("wer", "cer")
    for tier in _TIERS:
        for lm, title in _lm_titles(cells).items():
            pairs = _pairs(cells, tier, lm)
            for kind in kinds if pairs else ():
                scratch, pretrained = zip(*pairs, strict=True)
                found = compare_cells(scratch, pretrained, kind)
                whole = compare_cells(scratch, pretrained, kind, unit="speaker")
                reduction = f"[{100 * found.reduction_low:.1f}, {100 * found.reduction_high:.1f}]"
                numbers = (
                    *(f"{100 * found.a:.1f}", f"{100 * found.b:.1f}", _signed(found)),
                    f"[{100 * whole.low:+.1f}, {100 * whole.high:+.1f}]",
                    f"{100 * found.reduction:.1f} % {reduction}",
                    "yes" if found.significant and found.difference < 0 else "no",
                )
                rows.append((tier, title, kind.upper(), *numbers, str(len(pairs))))
    header = ("labels", "decoding", "rate", "from scratch", "pre-trained", "difference", "by speaker", "reduction")
    caption = (
        "Pre-trained minus from scratch, all test splits pooled (negative: pre-training helps), with 95 % intervals of "
        "a paired bootstrap over utterances; by speaker: the interval when whole speakers are resampled"
    )
    return Table((*header, "significantly lower", "seeds"), tuple(rows), caption, "What pre-training gains")


def _speakers(cells: Cells) -> Table:
    """Every speaker's rates with both arms, for the first seed and the best language model."""
    rows: list[tuple[str, ...]] = []
    titles = _lm_titles(cells)
    for tier in _TIERS:
        lm, pairs = next(((lm, p) for lm in reversed(titles) if (p := _pairs(cells, tier, lm))), ("", []))
        if not pairs:
            continue
        found = by_speaker(*pairs[0], "wer")
        helped, same, hurt = speakers_helped(found)
        for row in found:
            rates = (f"{100 * row.a:.1f}", f"{100 * row.b:.1f}", f"{100 * (row.b - row.a):+.1f}")
            counts = f"{helped} better, {same} same, {hurt} worse"
            who = (row.speaker or MISSING, row.split, str(row.utterances))
            rows.append((tier, titles[lm], counts, *who, *rates))
    header = ("labels", "decoding", "speakers", "speaker", "split", "utterances", "from scratch", "pre-trained")
    caption = "WER of each speaker in percent, the largest gain first"
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


def _lm_titles(cells: Cells) -> dict[str, str]:
    """The title of each language model that was used, in the paper's order."""
    found: dict[str, str] = {}
    for lm in LMS:
        titles = [cell.title for cell in cells.values() if cell.lm == lm]
        if titles:
            found[lm] = titles[0]
    return found


def ablation_tables(cells: Cells, names: Sequence[str], accuracies: Mapping[str, float]) -> list[Table]:
    """The variants, each compared with the first one, and every pair that the paper ranks.

    Args:
        cells: what has been scored so far.
        names: the variants, in order.
        accuracies: contrastive accuracy on held-out speech at the end of pre-training, by variant.
    """
    found = {name: _of_variant(cells, name, "ngram") for name in names}
    first = found[names[0]]
    tests = sorted({split for cell in cells.values() for split in cell.splits()}) or ["dev"]
    rows = []
    for name in names:
        ours, paper = found[name], ABLATION.get(name)
        accuracy = f"{100 * accuracies[name]:.1f}" if name in accuracies else MISSING
        compared = first and ours and name != names[0]
        difference = _signed(compare_cells(first, ours, "wer")) if compared else MISSING
        shown = [_mean_rate(_of_variant(cells, name, "greedy")), _mean_rate(ours), difference]
        splits = [percent(ours[0].score("wer", split)) if ours else MISSING for split in tests]
        rows.append((name, *shown, *splits, accuracy, MISSING if paper is None else f"{paper:.2f}", str(len(ours))))
    header = ("variant", "no LM", "4-gram", f"minus {names[0]}", *tests, "accuracy", "paper", "seeds")
    caption = (
        "WER in percent over all splits, without and with the 4-gram; the paired difference from the first variant, "
        "with its 95 % interval; the WER of the first seed on each split; contrastive accuracy on held-out speech; the "
        "paper's WER (BASE, dev-clean and dev-other together)"
    )
    return [table for table in (Table(header, tuple(rows), caption), _paper_order(found)) if table.rows]


def _of_variant(cells: Cells, name: str, lm: str) -> list[Cell]:
    """The cells of all seeds of a variant, in order."""
    chosen = [cell for cell in cells.values() if cell.row.get("variant") == name and cell.lm == lm]
    return sorted(chosen, key=lambda cell: int(cell.row["seed"]))


def _mean_rate(cells: Sequence[Cell]) -> str:
    """Mean WER over seeds, with its standard deviation if there are several."""
    if not cells:
        return MISSING
    rates = [100 * cell.score("wer").counts.rate for cell in cells]
    mean = sum(rates) / len(rates)
    if len(rates) == 1:
        return f"{mean:.1f}"
    deviation = (sum((rate - mean) ** 2 for rate in rates) / (len(rates) - 1)) ** 0.5
    return f"{mean:.1f} ({deviation:.1f})"


def _paper_order(found: Mapping[str, list[Cell]]) -> Table:
    """For every pair of variants that the paper ranks, whether ours rank the same way."""
    rows = []
    known = [name for name in found if name in ABLATION and found[name]]
    for a, b in combinations(known, 2):
        theirs = ABLATION[b] - ABLATION[a]
        if not theirs:
            continue
        better, worse = (a, b) if theirs > 0 else (b, a)
        pair = compare_cells(found[better], found[worse], "wer")
        verdict = ("yes" if pair.difference > 0 else "no", "yes" if pair.significant else "no")
        rows.append((better, worse, f"{abs(theirs):+.2f}", _signed(pair), *verdict))
    header = ("better in the paper", "worse in the paper", "paper", "ours", "same order", "significant")
    caption = "Every pair that the paper ranks: difference in WER (percent), worse minus better, with 95 % intervals"
    return Table(header, tuple(rows), caption, "Does the paper's order hold?")


def librispeech_tables(cells: Cells, amounts: Sequence[str], models: Sequence[str], lms: Sequence[str]) -> list[Table]:
    """Tables 1, 2, 9 and 10: a row for each amount of labels, model and language model, with our rates and the paper's.

    Splits that the paper does not have come last.
    """
    present = list(dict.fromkeys(split for cell in cells.values() for split in cell.splits()))
    others = [split for split in present if split not in _SPLITS]
    columns = [split for split in _SPLITS if split in present or not present]
    rows = []
    for amount in amounts:
        for model in models:
            for lm in lms:
                cell = cells.get((f"{amount}-{model}", lm))
                theirs = getattr(WER[amount, model], lm)
                ours: list[str] = []
                for split in columns:
                    rate = percent(cell.score("wer", split) if cell else None)
                    ours += [rate, f"{getattr(theirs, split.replace('-', '_')):.1f}"]
                ours += [percent(cell.score("wer", split) if cell else None) for split in others]
                rows.append((amount, MODELS[model], "none" if lm == "greedy" else _LMS[lm], *ours))
    pairs = [name for split in columns for name in (split, "paper")]
    caption = "WER in percent with its 95 % bootstrap interval, and the paper's"
    return [Table(("labels", "model", "LM", *pairs, *others), tuple(rows), caption)]


def timit_tables(cells: Cells) -> list[Table]:
    """Table 3: phone error rate on dev and the core test set, with the paper's in the last row."""
    splits = ("dev", "test")
    rows = [("ours", c.row["seed"], *(percent(c.score("wer", split)) for split in splits)) for c in cells.values()]
    rows = rows or [("ours", MISSING, MISSING, MISSING)]
    paper = ("paper: LARGE, LS-960", "", *(f"{TIMIT[split]:.1f}" for split in splits))
    caption = "Phone error rate in percent on 39 phones with its 95 % bootstrap interval, no language model"
    return [Table(("model", "seed", *splits), (*rows, paper), caption)]
