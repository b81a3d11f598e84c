"""``wav2vec2 adapt divide``: which recordings are trained on, chosen by, tested on, and which are untranscribed.

No speaker is in two of train, valid and test, and no speaker of valid or test is among the untranscribed: a recogniser
is for people it has not heard. Where no speakers are known, recordings take their place. The choice depends on names
alone (a hash of them), so that the same recordings are always divided in the same way.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from wav2vec2.adapt.labels import labelled_rows
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.errors import UserError
from wav2vec2.output_file import writing
from wav2vec2.pipeline.stage import write_values

TRAIN, VALID, TEST, UNTRANSCRIBED = "train", "valid", "test", "untranscribed"
TRANSCRIBED_FILE, UNTRANSCRIBED_FILE = "transcribed.parquet", "untranscribed.parquet"
TRAIN_FILE, VALID_FILE, TEXT_FILE = "train.parquet", "valid.parquet", "train.txt"
_OFFICIAL = {VALID: ("dev", "val"), TEST: ("test", "eval")}
_FEW_TEST_SECONDS = 600.0
_SPARSE = 0.5  # of the characters a second that people say: text with fewer is not all that was said
_LEAST_GROUPS = 3


@dataclass(frozen=True)
class DivideOptions:
    """Divide recordings into train, valid and test by speaker, and those without a transcript.

    A stage of 'wav2vec2 adapt', which can be run by hand. Splits that a corpus names itself (dev, valid, test) are
    kept. Writes transcribed.parquet, its parts train.parquet and valid.parquet, untranscribed.parquet, and train.txt,
    the transcripts of train.
    """

    manifest: Annotated[str, Positional, arg(metavar="MANIFEST")]
    """A manifest of all recordings, as 'wav2vec2 prepare' writes it."""
    transcripts: str = ""
    """A manifest of the transcribed recordings among them (or besides), or a text file of their ids, one a line; by
    default, the transcribed rows of MANIFEST."""
    out: Path = Path("divided")
    """Folder for the files."""
    held_out_percent: float = 10.0
    """Share of the transcribed speech that goes to test, and as much to valid, where the source does not say it."""
    language: str = ""
    """Code of the language, such as fr; by default that of most rows."""


@dataclass(frozen=True)
class _Groups:
    """Utterances that must stay together, by the name of what they share; kind: speaker, recording or utterance."""

    kind: str
    by_name: dict[str, list[Utterance]]
    why: str = ""


def run(options: DivideOptions) -> None:
    """Divide, write the files and print how.

    Raises:
        UserError: a file cannot be read, an id is missing, or there is too little transcribed speech.
    """
    if not 0 < options.held_out_percent <= 40:
        raise UserError(f"--held-out-percent {options.held_out_percent:g}: must be above 0 and at most 40")
    labelled, rest, lines = labelled_rows(options.manifest, options.transcripts)
    parts: dict[str, list[Utterance]] = {TRAIN: [], VALID: [], TEST: []}
    for row in labelled:
        parts[_official(row.split)].append(row)
    how = {kind: "as the source says" for kind in (VALID, TEST) if parts[kind]}
    missing = [kind for kind in (TEST, VALID) if not parts[kind]]
    if missing:
        groups = _groups(parts[TRAIN])
        for kind in missing:
            parts[kind] = _taken(groups, options.held_out_percent / 100, sum(map(_samples, parts[TRAIN])))
            how[kind] = f"by {groups.kind}{groups.why}"
        parts[TRAIN] = [row for rows in groups.by_name.values() for row in rows]
    if not all(parts.values()):
        raise UserError(
            f"{options.manifest}: {len(labelled)} transcribed utterances are too few to train on, to choose by and to "
            "test on: transcribe more, at best ten minutes or more of several speakers"
        )
    rest, heard = _without_speakers(rest, (*parts[VALID], *parts[TEST]))
    lines += [f"untranscribed, left out: {heard} utterances of speakers of valid and test"] if heard else []
    _write(options, parts, rest, how, lines)


def _official(split: str) -> str:
    name = split.lower()
    return next((kind for kind, heads in _OFFICIAL.items() if name.startswith(heads)), TRAIN)


def _samples(row: Utterance) -> int:
    return row.samples


def _groups(rows: list[Utterance]) -> _Groups:
    """Group by speaker; by recording if too few speakers are known; by utterance if there are too few recordings."""
    speakers = {row.speaker for row in rows if row.speaker}
    unknown = sum(not row.speaker for row in rows)
    if len(speakers) >= _LEAST_GROUPS and unknown <= len(rows) // 100:
        return _Groups("speaker", _by(rows, [row.speaker or row.path for row in rows]))
    known = "no speaker is known" if not speakers else f"speakers are known of {len(rows) - unknown} of {len(rows)}"
    if speakers and unknown <= len(rows) // 100:
        known = f"there are {len(speakers)} speakers"
    places = [f"{row.path}:{row.offset}" for row in rows]
    warning = ": the error rate of people whom it has not heard will be higher"
    if len(set(places)) >= _LEAST_GROUPS:
        return _Groups("recording", _by(rows, places), f" ({known}{warning})")
    return _Groups("utterance", _by(rows, [row.id for row in rows]), f" ({known}{warning})")


def _by(rows: list[Utterance], names: list[str]) -> dict[str, list[Utterance]]:
    found: dict[str, list[Utterance]] = {}
    for row, name in zip(rows, names, strict=True):
        found.setdefault(name, []).append(row)
    return dict(sorted(found.items(), key=lambda pair: sha256(pair[0].encode(errors="surrogatepass")).digest()))


def _taken(groups: _Groups, share: float, left: int) -> list[Utterance]:
    """Take groups out, in the order of their hashes, up to about this share of the samples; large ones last."""
    wanted = share * left
    sizes = {name: sum(map(_samples, rows)) for name, rows in groups.by_name.items()}
    order = sorted(sizes, key=lambda name: sizes[name] > 2 * wanted)  # stable: by hash within each half
    if all(sizes[name] > 2 * wanted for name in sizes):
        order = sorted(sizes, key=sizes.__getitem__)
    taken: list[Utterance] = []
    for name in order[: max(1, len(order) // 3)]:  # of few speakers, most are for training
        have = sum(map(_samples, taken))
        if len(groups.by_name) <= 1 or (taken and have + sizes[name] / 2 > wanted):
            break
        taken += groups.by_name.pop(name)
    return taken


def _without_speakers(rows: list[Utterance], held: Iterable[Utterance]) -> tuple[list[Utterance], int]:
    speakers = {row.speaker for row in held if row.speaker}
    kept = [row for row in rows if row.speaker not in speakers]
    return kept, len(rows) - len(kept)


def _write(
    options: DivideOptions,
    parts: dict[str, list[Utterance]],
    rest: list[Utterance],
    how: dict[str, str],
    lines: list[str],
) -> None:
    out = options.out
    rows = [replace(row, split=kind) for kind, part in parts.items() for row in part]
    language = options.language or _most_common(row.language for row in (*rows, *rest))
    rows = [replace(row, language=row.language or language) for row in rows]
    rest = [replace(row, split=UNTRANSCRIBED, text=None, language=row.language or language) for row in rest]
    write_manifest(rows, out / TRANSCRIBED_FILE)
    write_manifest(rest, out / UNTRANSCRIBED_FILE)
    for kind, name in ((TRAIN, TRAIN_FILE), (VALID, VALID_FILE)):
        write_manifest((row for row in rows if row.split == kind), out / name)
    with writing(out / TEXT_FILE) as temporary:
        texts = (" ".join((row.text or "").split()) for row in parts[TRAIN])
        Path(temporary).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    characters = sum(len(row.text or "") for row in parts[TRAIN])
    least = _SPARSE * characters * SAMPLE_RATE / max(1, sum(map(_samples, parts[TRAIN])))
    values: dict[str, object] = {"language": language, "least_rate": round(least, 1)}
    for kind, part in (*parts.items(), (UNTRANSCRIBED, rest)):
        seconds = sum(map(_samples, part)) / SAMPLE_RATE
        speakers = len({row.speaker for row in part if row.speaker})
        values[f"{kind}_seconds"], values[f"{kind}_utterances"] = round(seconds, 1), len(part)
        values[f"{kind}_speakers"] = speakers
        lines.append(
            f"{kind:<14}{len(part):>8,} utterances {seconds / 60:>9.1f} min  "
            f"{speakers or 'unknown':>8} speakers" + (f"  {how[kind]}" if kind in how else "")
        )
    tested = float(str(values["test_seconds"]))
    if tested < _FEW_TEST_SECONDS:
        lines.append(f"note: {tested / 60:.1f} min of test speech: the intervals of the error rates will be wide")
    values["lines"] = lines
    write_values(out, values)
    print("\n".join(lines))


def _most_common(names: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + bool(name)
    return max(counts, key=lambda name: counts[name], default="")
