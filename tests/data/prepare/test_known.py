"""A recording that has not changed is decoded once, whatever comes beside it, and the result is that of a fresh run."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.data.made_up_speech import voice, write

from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare import examine
from wav2vec2.data.prepare.command import PrepareFolder, PrepareOptions, run
from wav2vec2.errors import UserError


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The names of the files that were decoded since the last call."""
    names: list[str] = []
    real = examine.decode

    def counted(recording, *more, **options):  # type: ignore[no-untyped-def]
        names.append(Path(recording.path).name)
        return real(recording, *more, **options)

    def taken() -> list[str]:
        found = sorted(names)
        names.clear()
        return found

    monkeypatch.setattr(examine, "decode", counted)
    return taken


def folder(root: Path) -> PrepareFolder:
    """Forty recordings in three chunks: one is long and cut, one has a note, one is rejected."""
    for number in range(40):
        write(root / f"{number:02d}.wav", voice(0.2, seed=number))
    silence = np.zeros(9_600, np.float32)
    write(root / "07.wav", np.concatenate([part for seed in range(6) for part in (voice(2.0, seed), silence)]))
    (root / "11.wav").rename(root / "11.mp3")
    (root / "20.wav").write_bytes(b"no recording")
    return PrepareFolder(root=root, out=root.parent / "out", segment=True, max_seconds=6, workers=1)


def files(out: Path) -> dict[str, bytes]:
    """Everything that is written beside the journal."""
    return {path.name: path.read_bytes() for path in out.glob("*.*") if path.is_file()}


def as_fresh(options: PrepareOptions, fresh: Path) -> None:
    assert files(options.out) == files(run(replace(options, out=fresh, reuse=None)).parent)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["the same folder", "another folder"])
def test_only_what_is_new_or_changed_is_decoded(tmp_path: Path, decoded, elsewhere: bool, capsys) -> None:  # type: ignore[no-untyped-def]
    options = folder(tmp_path / "speech")
    run(options)
    assert len(decoded()) == 40
    assert "not decoded again" not in capsys.readouterr().out
    if elsewhere:
        options = replace(options, out=tmp_path / "work" / "second", reuse=tmp_path)
    write(options.root / "00a.wav", voice(0.2, seed=50))
    write(options.root / "30.wav", voice(0.25, seed=51))
    (options.root / "35.wav").unlink()
    manifest = Manifest.open(run(options))
    assert decoded() == ["00a.wav", "20.wav", "30.wav"]  # what was rejected may have been mended
    assert "not decoded again: 37 of 40 files, unchanged since" in capsys.readouterr().out
    assert {"00a", "30", "36"} <= {row.id for row in manifest}
    assert sum(row.id.startswith("07-") for row in manifest) == 3
    assert b"ends in '.mp3' but contains wav" in files(options.out)["notes.jsonl"]
    as_fresh(options, tmp_path / "fresh")


def test_several_earlier_runs_are_known_from_the_folder_above(tmp_path: Path, decoded) -> None:  # type: ignore[no-untyped-def]
    options = folder(tmp_path / "speech")
    for name in ("one", "two"):
        options = replace(options, out=tmp_path / "work" / name, reuse=tmp_path / "work" if name == "two" else None)
        run(options)
        write(options.root / f"{name}.wav", voice(0.2, seed=60))
    (tmp_path / "work" / "one" / "manifest.parquet").unlink()  # as if it had been interrupted: the journal is there
    decoded()
    options = replace(options, out=tmp_path / "work" / "three", workers=2)
    run(options)
    as_fresh(options, tmp_path / "fresh")


def test_other_options_and_another_time_of_change_count(tmp_path: Path, decoded) -> None:  # type: ignore[no-untyped-def]
    options = folder(tmp_path / "speech")
    run(options)
    decoded()
    run(replace(options, valid_percent=50))
    assert len(decoded()) == 40
    changed = options.root / "05.wav"
    before = changed.stat()
    write(changed, voice(0.2, seed=99))
    assert changed.stat().st_size == before.st_size
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    run(replace(options, valid_percent=50))
    assert decoded() == ["05.wav"]


def test_a_damaged_journal_is_passed_over(tmp_path: Path, decoded) -> None:  # type: ignore[no-untyped-def]
    options = folder(tmp_path / "speech")
    run(options)
    journal = next((options.out / ".prepare" / "part-whole").iterdir())
    rows, _ = examine.read_journal(journal)
    assert rows is not None
    lost = {Path(path).name for path in rows.column("path").to_pylist()}
    journal.write_bytes(b"PAR1")
    decoded()
    options = replace(options, out=tmp_path / "again", reuse=options.out)
    run(options)
    assert decoded() == sorted(lost | {"20.wav"})
    as_fresh(options, tmp_path / "fresh")


def test_a_folder_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--reuse .*: no such folder; give the --out of an earlier"):
        run(replace(folder(tmp_path / "speech"), reuse=tmp_path / "none"))
