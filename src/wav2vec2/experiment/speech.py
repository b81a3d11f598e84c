"""The speech of an experiment: which splits it uses, how much of them, and which labels, of how many hours."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import SAMPLE_RATE
from wav2vec2.output_file import writing
from wav2vec2.pipeline.stage import VALUES_FILE
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
    """Write ``manifest.parquet`` with the splits used, ``labels/TIER.txt``, and ``values.json``.

    train, dev, tests: splits, several joined by "+"; empty: those whose names begin so. lists: files of ids, one for
    each of ``tiers`` but for "all", in their order. ..._seconds: at most so much of each split, 0 for everything; the
    choice depends on the ids alone, and utterances of the shorter lists are kept first. values: the names of the
    splits, "hours_TIER", "hold_out" (utterances for watching the pre-training).

    Raises UserError for splits or ids that are not there.
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
            chosen[split] = _cut(by_split[split], limit, first)
    training = {one.id: one for split in splits["train"].split("+") for one in chosen[split]}
    for tier, ids in labelled.items():
        if not ids & set(training):
            raise UserError(f"labels '{tier}': none of its {len(ids)} ids is in split {splits['train']} of {manifest}")
        _write_list(folder / "labels" / f"{tier}.txt", (name for name in training if name in ids))
    spare = len(training) - len(set(training) & set().union(*labelled.values()))
    _write_list(folder / "labels" / "any.txt", sorted(set(training) & set().union(*labelled.values())))
    values: dict[str, object] = {f"{kind}_splits": names for kind, names in splits.items()}
    known = splits["dev"].split("+")
    values["tuning_splits"] = "dev-other" if "dev-other" in known else splits["dev"]  # as the paper does
    values["scored_splits"] = f"{splits['dev']}+{splits['test']}"
    values["hold_out"] = max(0, min(hold_out, spare // 4))
    for tier in tiers:
        ids = labelled.get(tier, set(training))
        lengths = [one.samples / SAMPLE_RATE for one in training.values() if one.id in ids]
        values[f"hours_{tier}"] = round(sum(lengths) / 3600, 4)
    write_manifest((one for rows in chosen.values() for one in rows), folder / "manifest.parquet")
    with writing(folder / VALUES_FILE) as temporary:
        Path(temporary).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


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
            raise UserError(f"{manifest.name}: has {what}; there are {', '.join(present)}: give {option}")
        found[kind] = "+".join(chosen)
    return found


def _cut(utterances: list[Utterance], seconds: float, first: Sequence[set[str]]) -> list[Utterance]:
    """At most so many seconds, in the manifest's order; members of the first sets are preferred."""
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
