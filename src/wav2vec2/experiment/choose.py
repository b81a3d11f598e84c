"""Stages that choose: the speech of an experiment, the best learning rate, the best of several models."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.errors import UserError, cause
from wav2vec2.input_file import parse_json, read_input
from wav2vec2.output_file import writing
from wav2vec2.pipeline.kept_model import keep_model
from wav2vec2.pipeline.stage import write_values
from wav2vec2.report.run_log import lowest_score
from wav2vec2.train.corpus import read_ids


def choose_speech(
    folder: Path,
    *,
    manifest: str,
    train: str,
    dev: str,
    tests: str,
    tiers: Sequence[str],
    lists: Sequence[str],
    train_seconds: float,
    dev_seconds: float,
    test_seconds: float,
    hold_out: int,
) -> None:
    """Choose the splits, hours and labels of an experiment.

    Writes ``manifest.parquet``, ``labels/TIER.txt`` and ``values.json`` (names of splits, "hours_TIER", "hold_out").

    Args:
        folder: the stage's folder.
        manifest: all the speech.
        train: training splits, joined by "+"; empty: those whose names begin with "train" (dev and tests likewise).
        dev: splits for tuning.
        tests: splits to score.
        tiers: amounts of labels; "all" is the whole training split.
        lists: files of utterance ids, one for each tier but "all", in order.
        train_seconds: at most this much speech from each training split; 0: all. The choice depends only on the ids,
            and utterances of the shorter lists are kept first.
        dev_seconds: the same for each dev split.
        test_seconds: the same for each test split.
        hold_out: utterances to hold out of pre-training; at most a quarter of the unlabelled ones.

    Raises:
        UserError: a split or an id is missing.
    """
    opened = Manifest.open(manifest)
    splits = _splits(opened, {"train": train, "dev": dev, "test": tests})
    labelled = {tier: read_ids(path) for tier, path in zip((t for t in tiers if t != "all"), lists, strict=True)}
    by_split: dict[str, list[Utterance]] = {}
    for utterance in opened:
        by_split.setdefault(utterance.split, []).append(utterance)
    chosen: dict[str, list[Utterance]] = {}
    for kind, limit in (("train", train_seconds), ("dev", dev_seconds), ("test", test_seconds)):
        for split in splits[kind].split("+"):
            first = sorted(labelled.values(), key=len) if kind == "train" else []
            chosen[split] = _shortened(by_split[split], limit, first)
    training = {one.id: one for split in splits["train"].split("+") for one in chosen[split]}
    for tier, ids in labelled.items():
        if not ids & set(training):
            raise UserError(f"labels '{tier}': none of its {len(ids)} ids is in split {splits['train']} of {manifest}")
        _write_list(folder / "labels" / f"{tier}.txt", (name for name in training if name in ids))
    any_tier = set(training) & set().union(*labelled.values())
    _write_list(folder / "labels" / "any.txt", sorted(any_tier))
    write_manifest((one for rows in chosen.values() for one in rows), folder / "manifest.parquet")
    spare = (len(training) - len(any_tier)) // 4
    values = _names_of(splits) | {"hold_out": max(0, min(hold_out, spare))}
    for tier in tiers:
        values[f"hours_{tier}"] = _hours(one for name, one in training.items() if name in labelled.get(tier, training))
    write_values(folder, values)


def _hours(utterances: Iterable[Utterance]) -> float:
    return round(sum(one.samples for one in utterances) / SAMPLE_RATE / 3600, 4)


def _names_of(splits: dict[str, str]) -> dict[str, object]:
    """The values that name splits, by their purpose. The paper tunes on dev-other."""
    values: dict[str, object] = {f"{kind}_splits": names for kind, names in splits.items()}
    values["tuning_splits"] = "dev-other" if "dev-other" in splits["dev"].split("+") else splits["dev"]
    values["scored_splits"] = f"{splits['dev']}+{splits['test']}"
    return values


def _splits(manifest: Manifest, wanted: dict[str, str]) -> dict[str, str]:
    present = sorted(set(manifest.column("split").to_pylist()))
    found = {}
    for kind, names in wanted.items():
        chosen = names.split("+") if names else [split for split in present if split.startswith(kind)]
        if kind == "dev" and not names and not chosen:
            chosen = [split for split in present if split.startswith("valid")]
        missing = [name for name in chosen if name not in present]
        if missing or not chosen:
            option = {"train": "--train-splits", "dev": "--dev-splits", "test": "--test-splits"}[kind]
            what = f"no split '{missing[0]}'" if missing else f"no split whose name begins with '{kind}'"
            raise UserError(f"{manifest.name}: has {what}; it has {', '.join(present)}: give {option}")
        found[kind] = "+".join(chosen)
    return found


def _shortened(utterances: list[Utterance], seconds: float, first: Sequence[set[str]]) -> list[Utterance]:
    """At most this many seconds, in the manifest's order; utterances of the sets ``first`` are kept before others."""
    if not seconds:
        return utterances

    def key(one: Utterance) -> tuple[int, str]:
        rank = next((number for number, ids in enumerate(first) if one.id in ids), len(first))
        return rank, hashlib.sha256(one.id.encode()).hexdigest()

    left = seconds * SAMPLE_RATE
    kept: set[str] = set()
    for one in sorted(utterances, key=key):
        if kept and one.samples > left:
            break
        kept.add(one.id)
        left -= one.samples
    return [one for one in utterances if one.id in kept]


def _write_list(path: Path, ids: Iterable[str]) -> None:
    with writing(path) as temporary:
        Path(temporary).write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")


def choose_learning_rate(folder: Path, *, models: Sequence[str], logs: Sequence[str], rates: Sequence[float]) -> None:
    """Keep the model whose run had the lowest validation score (CER on dev), as ``folder/model`` and ``values.json``.

    Args:
        folder: the stage's folder.
        models: model directories.
        logs: the log of each model's run.
        rates: the learning rate of each run.

    Raises:
        UserError: a run has no validations.
    """
    scores = [lowest_score(Path(log)) for log in logs]
    best = min(range(len(scores)), key=scores.__getitem__)
    keep_model(Path(models[best]), folder / "model")
    tried = {str(rate): round(score, 6) for rate, score in zip(rates, scores, strict=True)}
    write_values(folder, {"lr": rates[best], "score": scores[best], "tried": tried})
    print(
        f"   lr {rates[best]:g}: " + ", ".join(f"{rate}: dev score {100 * score:.2f}" for rate, score in tried.items())
    )


def choose_by_word_errors(
    folder: Path, *, models: Sequence[str], reports: Sequence[str], names: Sequence[str], column: int
) -> None:
    """Keep the model with the lowest WER, as ``folder/model`` and ``values.json`` (the Libri-light protocol).

    Args:
        folder: the stage's folder.
        models: model directories.
        reports: what ``wav2vec2 evaluate`` wrote for each model.
        names: a name for each model.
        column: the column of the reports that counts.

    Raises:
        UserError: a file is not such a report.
    """
    rates = []
    for report in reports:
        try:
            table = parse_json(read_input(report))["table"]
            rates.append(float(list(list(table.values())[-1].values())[column]["wer"]["rate"]))
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise UserError(f"{report}: not a report of wav2vec2 evaluate ({cause(error)})") from None
    best = min(range(len(rates)), key=rates.__getitem__)
    keep_model(Path(models[best]), folder / "model")
    tried = {name: round(rate, 6) for name, rate in zip(names, rates, strict=True)}
    write_values(folder, {"chosen": names[best], "tried": tried})
    print("   " + ", ".join(f"{name}: {100 * rate:.2f} %" for name, rate in tried.items()))
