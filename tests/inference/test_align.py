import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.inference.spoken_symbols import VOCABULARY, LoudnessCTC, spoken, write
from tests.small_models import GROUP, recognizer

from wav2vec2 import cli
from wav2vec2.audio.recordings import Failure, open_recording
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.errors import UserError
from wav2vec2.inference.align import Aligner
from wav2vec2.inference.align_command import AlignOptions, file_name, run, text_argument


def test_times_are_centred_on_the_receptive_field() -> None:
    result = Aligner(LoudnessCTC(), device="cpu")(spoken("A FOX"), "a Fox")
    # A: frames 0-2, blank 3, | 4-6, blank 7, F 8-10, O 12-14, X 16-18.
    frames = {"a": (0, 2), "Fox": (8, 18)}
    assert [word.text for word in result.words] == list(frames)
    for word in result.words:
        first, last = frames[word.text]
        assert word.start == pytest.approx((320 * first + 200) / 16_000 - 0.01)
        assert word.end == pytest.approx((320 * last + 200) / 16_000 + 0.01)
    middle = result.words[1].characters[1]
    assert (middle.start, middle.end) == pytest.approx(
        ((320 * 12 + 200) / 16_000 - 0.01, (320 * 14 + 200) / 16_000 + 0.01)
    )
    assert result.seconds == pytest.approx(len(spoken("A FOX")) / 16_000)
    assert result.words[-1].end is not None
    assert result.words[-1].end <= result.seconds
    assert 0.99 < result.score <= 1


def test_a_sound_at_a_known_time_is_found_there() -> None:
    silence = np.zeros(16_000, dtype=np.float32)
    audio = np.concatenate([silence, spoken("FOX", hold=5)[:-80], silence])
    word = Aligner(LoudnessCTC(), device="cpu")(audio, "FOX").words[0]
    assert word.start == pytest.approx(1.0, abs=0.011)
    assert word.end == pytest.approx(1.0 + 17 * 0.02, abs=0.011)  # the blank after X is no part of it


def test_windows_give_what_one_pass_gives(tmp_path: Path) -> None:
    text = " ".join(["THE QUICK BROWN FOX JUMPS OVER A LAZY DOG'S"] * 6)
    path = write(tmp_path / "long.wav", spoken(text, hold=4))
    whole = Aligner(LoudnessCTC(), device="cpu", window_seconds=1000)(path, text)
    model = LoudnessCTC()
    heard: list[float] = []
    sizes = {"window_seconds": 1.5, "context_seconds": 0.31, "batch_seconds": 4.0}
    aligner = Aligner(model, device="cpu", **sizes)
    (cut,) = aligner.stream([(open_recording(path), text)], heard.append)
    assert not isinstance(cut, Failure)
    assert cut.words == whole.words
    assert max(rows * samples for rows, samples in model.shapes) <= 4 * 16_000
    assert sum(heard) == pytest.approx(whole.seconds, abs=0.02)


def test_many_keep_their_order_and_failures_their_place(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFFnothing")
    pairs = [
        (spoken("LAZY DOG'S"), "LAZY DOG'S"),
        (tmp_path / "bad.wav", "A"),
        (spoken("A"), "QUICK BROWN"),
        (np.full(800, np.nan, dtype=np.float32), "A"),
        (np.zeros(100, dtype=np.float32), "A"),
        (spoken("FOX"), ""),
        (spoken("FOX"), "FOX"),
    ]
    aligner = Aligner(LoudnessCTC(), device="cpu", batch_seconds=0.1)
    results = list(aligner.stream(pairs))
    said = [result.message if isinstance(result, Failure) else result.words[0].text for result in results]
    expected = ["LAZY", "bad.wav", "does not fit", "not finite", "shorter than one frame", "text is empty", "FOX"]
    assert all(part in message for part, message in zip(expected, said, strict=True))
    with pytest.raises(UserError, match=r"bad\.wav"):
        aligner(tmp_path / "bad.wav", "A")


def test_alone_equals_in_a_batch_with_a_real_model() -> None:
    model = recognizer(GROUP, VOCABULARY)
    random = np.random.default_rng(0)
    audio = [0.1 * random.standard_normal(n).astype(np.float32) for n in (9_000, 16_123, 6_000)]
    aligner = Aligner(model, device="cpu")
    together = list(aligner.stream((open_recording(one), "A FOX") for one in audio))
    for one, result in zip(audio, together, strict=True):
        alone = aligner(one, "A FOX")
        assert not isinstance(result, Failure)
        assert alone.words[0].start == result.words[0].start
        assert alone.log_probability == pytest.approx(result.log_probability, rel=1e-5)


def test_impossible_sizes_and_models_are_refused() -> None:
    with pytest.raises(UserError, match="context_seconds"):
        Aligner(LoudnessCTC(), window_seconds=1, context_seconds=1)
    with pytest.raises(UserError, match="no CTC head"):
        Aligner(torch.nn.Linear(1, 1))  # type: ignore[arg-type]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = []
    for identity, said, text in (("one/1", "THE FOX", "the fox"), ("two", "A", "A é"), ("quiet", "DOG'S", None)):
        path = write(tmp_path / "audio" / f"{len(rows)}.wav", spoken(said))
        rows.append(Utterance(identity, str(path), samples=len(spoken(said)), text=text, split="dev"))
    return write_manifest(rows, tmp_path / "manifest.parquet")


def test_command_for_one_recording(model_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio = str(write(tmp_path / "talk.wav", spoken("THE FOX")))
    assert cli.main(["align", "--model", model_path, audio, "the fox", "--device", "cpu"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert [word["text"] for word in entry["words"]] == ["the", "fox"]
    assert cli.main(["align", "--model", model_path, audio, "the", "fox", "--format", "ctm"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    (tmp_path / "said.txt").write_text("\ufeffthe\n\nfox №\n", encoding="utf-8")
    for out, written in ((tmp_path / "x" / "y.srt", "x/y.srt"), (tmp_path / "x", "x/talk.srt")):
        run(AlignOptions(audio, (str(tmp_path / "said.txt"),), model_path, format="srt", out=out))
        assert "\nthe fox №\n" in (tmp_path / written).read_text(encoding="utf-8")
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "cannot spell 1 of its symbols: '№' x1; they get no time" in captured.err


def test_command_for_a_manifest(
    model_path: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(AlignOptions(str(manifest), model=model_path, format="textgrid", out=tmp_path / "grids"))
    assert sorted(path.name for path in (tmp_path / "grids").iterdir()) == ["one%2F1.TextGrid", "two.TextGrid"]
    said = capsys.readouterr().err
    assert "'É' x1" in said
    assert "1 utterances without a transcript skipped" in said
    run(AlignOptions(str(manifest), model=model_path))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["source"], len(line["words"])) for line in lines] == [("one/1", 2), ("two", 2)]
    run(AlignOptions(str(manifest), model=model_path, format="ctm", split="dev"))
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["one/1", "one/1", "two"]


def test_failing_utterances_are_one_line_each_and_the_rest_goes_on(
    model_path: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "audio" / "0.wav").unlink()
    with pytest.raises(UserError, match="1 of 2 utterances could not be aligned"):
        run(AlignOptions(str(manifest), model=model_path, out=tmp_path / "out"))
    assert "0.wav" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["two.json"]


def test_wrong_use_is_one_line(
    model_path: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = str(write(tmp_path / "talk.wav", spoken("A")))
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    for arguments, part in (
        ([audio], "is a recording without a text"),
        ([audio, "the fox jumps over"], "talk.wav: the text does not fit: 18 labels and 0 repeats"),
        ([audio, "no/such/file.txt"], "no/such/file.txt: does not exist"),
        ([audio, str(tmp_path / "latin.txt")], "is not UTF-8"),
        ([audio, "A", "--split", "dev"], "--split"),
        ([audio, ""], "text is empty"),
        ([str(tmp_path / "absent.wav"), "A"], "absent.wav: does not exist"),
        ([str(manifest), "--format", "srt"], "--out"),
        ([str(manifest), "--out", audio], "is a file"),
        ([str(tmp_path / "nothing")], "no manifest found"),
    ):
        assert cli.main(["align", "--model", model_path, *arguments]) == 2
        message = capsys.readouterr().err
        assert part in message
        assert message.count("\n") == 1
    silent = write_manifest([Utterance("a", audio, samples=1200)], tmp_path / "silent.parquet")
    with pytest.raises(UserError, match="no utterance has a transcript"):
        run(AlignOptions(str(silent), model=model_path))


def test_text_or_file(tmp_path: Path) -> None:
    assert text_argument("a fox.txt said") == "a fox.txt said"
    assert text_argument("long " * 2000) == "long " * 2000
    (tmp_path / "b.txt").write_text("words\n")
    assert text_argument(str(tmp_path / "b.txt")) == "words\n"


def test_file_names_of_ids_are_safe_and_differ() -> None:
    ids = ["a/b", "a%2Fb", "../x", ".", "..", "", "ünï-1", "a:b", "a\\b", "a\nb"]
    names = [file_name(identity, ".json") for identity in ids]
    assert len(set(names)) == len(ids)
    assert not any(set("/\\:\n") & set(name) for name in names)
    assert names[6] == "ünï-1.json"
