"""Tables of transcripts as people have them, read through `adapt`: what can be read is, and the rest is told in a line
for each kind, with a count and three examples.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.adapt.made_up_recordings import smallest, write_recordings
from tests.run_here import run_here

from wav2vec2.adapt.plan import DIVIDE, make_plan
from wav2vec2.data.manifest import Manifest
from wav2vec2.errors import UserError
from wav2vec2.pipeline.engine import Engine

Divide = Callable[[bytes], Manifest]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, str]]]:
    """The folder, and (path, text) of its 18 transcribed recordings."""
    folder, table = write_recordings(tmp_path_factory.mktemp("tables"))
    rows = [line.split(",", 1) for line in table.read_text(encoding="utf-8").splitlines()[1:]]
    return folder, [(path, text) for path, text in rows]


@pytest.fixture
def divide(recordings, tmp_path, monkeypatch) -> Divide:
    """Run the stages of adapt up to the division, with a table of these bytes; returns the transcribed utterances."""
    monkeypatch.setattr("wav2vec2.pipeline.engine.run_command", run_here)

    def run(content: bytes) -> Manifest:
        table = tmp_path / "table.csv"
        table.write_bytes(content)
        adaptation = make_plan(smallest(tmp_path / "out", recordings[0], table))
        Engine(adaptation.plan).run(adaptation.plan.needed([DIVIDE]))
        return Manifest.open(adaptation.plan.result(DIVIDE))

    return run


def table(rows: list[tuple[str, str]], delimiter: str = ",", header: str = "path,text", end: str = "\n") -> str:
    return end.join([header.replace(",", delimiter), *(delimiter.join(row) for row in rows), ""])


@pytest.mark.parametrize(
    "written",
    [
        lambda rows: table(rows, ";").encode("utf-8-sig"),  # Excel in most of Europe
        lambda rows: table(rows, "\t", end="\r\n").encode("utf-16"),  # Excel's "Unicode text"
        lambda rows: table(rows, header="file_name,transcription").encode(),
        lambda rows: table([(path.replace("/", "\\"), text) for path, text in rows], end="\r\n").encode(),
        lambda rows: table([(path, f'"{text}\nand a second line"') for path, text in rows]).encode(),
    ],
    ids=[
        "semicolons and a byte order mark",
        "UTF-16 with tabs",
        "names of Hugging Face",
        "Windows",
        "quoted line ends",
    ],
)
def test_a_table_that_is_only_unusual_is_read(divide, recordings, written):
    found = divide(written(recordings[1]))
    assert len(found) == 18
    texts = {text.removesuffix(" and a second line") for text in found.column("text").to_pylist()}
    assert texts == {text for _, text in recordings[1]}


def test_what_is_wrong_in_rows_is_counted_with_three_examples_a_kind(divide, recordings, capsys):
    rows = list(recordings[1])
    for number in range(4):
        rows[number] = (f"nowhere{number}.wav", rows[number][1])
    for number in range(4, 8):
        rows[number] = (rows[number][0], f"{rows[number][1]}, and more, unquoted")
    rows[8] = (rows[8][0], "")
    assert len(divide(table(rows).encode())) == 9
    said = capsys.readouterr().out
    assert "rejected: 8 (of" in said
    for count, examples in ((4, "nowhere"), (4, "columns instead of 2")):
        assert f"{count:>8,}  " in said
        assert sum(examples in line for line in said.splitlines()) == 3
    assert "1 utterance without a transcript" in said
    assert "table: 1 rows without a transcript count as untranscribed" in said


def test_a_table_in_another_encoding_stops_with_the_remedy(divide, recordings):
    rows = [(path, f"{text} déjà") for path, text in recordings[1]]
    with pytest.raises(UserError, match=r"18 of 18 rows are not UTF-8 \(line 2 .*line 3 .*line 4 .*save it as UTF-8"):
        divide(table(rows).encode("latin-1"))


def test_a_table_without_a_column_of_paths_stops_before_anything_runs(recordings, tmp_path):
    file = tmp_path / "table.csv"
    options = smallest(tmp_path / "out", recordings[0], file)
    for content, message in (
        ("path text\na b\n", "has no column 'path' in its first line, only 'path text'"),
        ("speaker,text\na,b\n", "has no column 'path' in its first line, only 'speaker', 'text'"),
    ):
        file.write_text(content)
        with pytest.raises(UserError, match=message):
            make_plan(replace(options, out=tmp_path / "other"))
    assert not (tmp_path / "other").exists()
