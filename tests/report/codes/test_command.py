import re
from pathlib import Path

import numpy as np
import pytest
from tests.report.tiny_models import ARCHITECTURE, write_corpus, write_pretrained, write_recogniser

from wav2vec2.cli import main
from wav2vec2.data.manifest import Manifest
from wav2vec2.report.codes.command import CodesOptions, chosen_utterances
from wav2vec2.text.vocabulary import Vocabulary

NO_PICTURES = ("--min-frames", "100000")  # drawing takes longest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("codes")
    write_pretrained(folder / "pretrained")
    write_recogniser(folder / "recogniser")
    write_corpus(folder / "corpus")
    return folder


def report(folder: Path, out: Path, *more: str) -> tuple[int, str]:
    """Exit status and page of the command."""
    arguments = ["report", "codes", str(folder / "pretrained"), str(folder / "corpus"), "--out", str(out), *more]
    status = main(arguments)
    page = out / "report.md"
    return status, page.read_text() if page.is_file() else ""


def frames_of(*seconds: float) -> int:
    return sum(ARCHITECTURE.frame_length(round(16_000 * length)) for length in seconds)


def test_every_frame_of_the_transcribed_utterances_is_counted(folder: Path, tmp_path: Path) -> None:
    status, page = report(folder, tmp_path / "out", "--align", str(folder / "recogniser"), "--min-frames", "1")
    assert status == 0
    assert "# Characters by codewords" in page
    (joint, first, second) = [row.split(" | ") for row in page.splitlines() if " | 25 | " in row or " | 5 | " in row]
    assert joint[3] == first[3] == second[3] == str(frames_of(1.0, 1.1))
    for name in ("codes_joint", "codes_1", "codes_2"):
        assert (tmp_path / "out" / f"{name}.png").is_file()
    assert "2 utterances of" in page


def test_phones_of_a_lexicon_and_words_that_it_lacks(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("FOX F AA1 K S\n")
    options = ("--align", str(folder / "recogniser"), "--phones", str(lexicon), *NO_PICTURES)
    status, page = report(folder, tmp_path / "out", *options)
    assert status == 0
    assert f"{lexicon}: 1 of 2 words are missing, their frames are skipped: A\n" in capsys.readouterr().err
    rows = page[page.index("## Phones") :].splitlines()
    phones = {row.split(" | ")[0].strip("| ") for row in rows if row.startswith("| ")} - {"phone", ":--"}
    assert phones <= {"F", "AA", "K", "S", "sil"}
    assert "F" in phones


def test_labels_by_hand(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_corpus(tmp_path / "corpus", ("x", None, None)).parent
    (manifest / "u0.PHN").write_text("0 8000 h#\n8000 12800 ao\n12800 16000 q\n")
    (manifest / "u1.phn").write_text("0 17600 s\n")
    arguments = ["report", "codes", str(folder / "pretrained"), str(manifest), "--align", "phn", *NO_PICTURES]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert "u2.wav: has no labels" in capsys.readouterr().err
    page = (tmp_path / "out" / "report.md").read_text()
    rows = dict(row.strip("| ").split(" | ")[:2] for row in page[page.index("## Phones") :].splitlines() if "| " in row)
    centres = [ARCHITECTURE.frame_center(frame) for frame in range(frames_of(1.0))]
    # folded to 39: h# is sil, ao is aa, the glottal stop is left out
    assert int(rows["sil"]) == np.sum(np.array(centres) < 0.5)
    assert int(rows["aa"]) == np.sum((np.array(centres) >= 0.5) & (np.array(centres) < 0.8))
    assert int(rows["s"]) == frames_of(1.1)
    assert "1 could not be used" in page
    assert main([*arguments, "--out", str(tmp_path / "out"), "--phone-set", "61"]) == 0
    assert {"| h# |", "| ao |", "| q |"} <= set(re.findall(r"\| \S+ \|", (tmp_path / "out" / "report.md").read_text()))


def test_some_utterances_evenly_spread(folder: Path) -> None:
    manifest = Manifest.open(folder / "corpus")
    options = CodesOptions(model="m", manifest="c", align="phn", utterances=2)
    assert [row.id for row in chosen_utterances(manifest, options)] == ["u0", "u2"]
    assert [row.id for row in chosen_utterances(manifest, CodesOptions(model="m", manifest="c", align="x"))] == [
        "u0",
        "u1",
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "--align"),
        (("--align", "RECOGNISER", "--min-frames", "0"), "--min-frames"),
        (("--align", "RECOGNISER", "--phones", "nowhere.txt"), "nowhere.txt: cannot be read"),
        (("--align", "RECOGNISER", "--split", "nowhere"), "nowhere"),
        (("--align", "PRETRAINED"), "fine-tune"),
    ],
)
def test_bad_input_gives_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    names = {"RECOGNISER": str(folder / "recogniser"), "PRETRAINED": str(folder / "pretrained")}
    status, page = report(folder, tmp_path / "out", *(names.get(word, word) for word in more))
    error = capsys.readouterr().err
    assert (status, page) == (2, "")
    assert error.count("\n") == 1
    assert message in error


def test_a_recogniser_in_place_of_the_pretrained_model_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recogniser = str(folder / "recogniser")
    assert main(["report", "codes", recogniser, str(folder / "corpus"), "--align", recogniser]) == 2
    assert "is a recogniser without a quantizer" in capsys.readouterr().err


def test_a_recogniser_of_phones_needs_no_lexicon(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phones = Vocabulary.from_transcripts(["f aa k s", "ah"], unit="whitespace", word_separator=None)
    write_recogniser(tmp_path / "phones", phones)
    corpus = write_corpus(tmp_path / "corpus", ("f aa k s", "ah")).parent
    arguments = ["report", "codes", str(folder / "pretrained"), str(corpus), "--align", str(tmp_path / "phones")]
    assert main([*arguments, "--out", str(tmp_path / "out"), *NO_PICTURES]) == 0
    page = (tmp_path / "out" / "report.md").read_text()
    assert "| aa | " in page
    (tmp_path / "lexicon.txt").write_text("a AH\n")
    assert main([*arguments, "--phones", str(tmp_path / "lexicon.txt")]) == 2
    assert "leave --phones out" in capsys.readouterr().err.splitlines()[-1]
