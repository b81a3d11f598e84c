"""Work over a manifest: tasks, parts, resume, refusals, and what the files hold."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from tests.object_store import KEYS, forget_connections, s3_server
from tests.small_models import FAMILIES, noise, recognizer

import wav2vec2
from wav2vec2.bulk.results import read_results
from wav2vec2.cli import main
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.errors import UserError
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_transcripts(["A FOX"])
LENGTHS = (4000, 9000, 300, 16_000, 5000, 7000, 3000, 12_000)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    wav2vec2.save(recognizer(FAMILIES["group"], VOCABULARY), folder / "model")
    return folder / "model"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Eight utterances, of which the third is shorter than a frame; the last three are cut out of one recording."""
    (tmp_path / "audio").mkdir()
    rows = []
    for number, length in enumerate(LENGTHS[:5]):
        soundfile.write(tmp_path / f"audio/{number}.wav", 0.3 * noise(length, seed=number)[0][0].numpy(), 16_000)
        rows.append(Utterance(f"u{number}", f"audio/{number}.wav", samples=length, text="A FOX", split="train"))
    soundfile.write(tmp_path / "audio/long.flac", 0.3 * noise(22_000, seed=9)[0][0].numpy(), 16_000)
    for number, start in ((5, 0), (6, 7000), (7, 10_000)):
        rows.append(Utterance(f"u{number}", "audio/long.flac", start=start, samples=LENGTHS[number], split="dev"))
    return write_manifest(rows, tmp_path / "manifest.parquet")


def transcribe(model: Path, manifest: Path, out: Path, *options: str) -> int:
    words = [
        "transcribe",
        "--model",
        str(model),
        str(manifest),
        "--out",
        str(out),
        "--device",
        "cpu",
        "--decoder",
        "greedy",
    ]
    return main([*words, "--task-minutes", "0.01", *options])


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_row_once_with_the_transcripts_of_the_transcriber(model: Path, manifest: Path, tmp_path: Path) -> None:
    assert transcribe(model, manifest, tmp_path / "out") == 0
    results = read_results(tmp_path / "out")
    rows = list(results)
    assert [row["id"] for row in rows] == [f"u{number}" for number in range(8)]
    assert len(results.files) > 3
    with Transcriber(model, device="cpu", decoder="greedy") as transcriber:
        for row in rows[:5]:
            transcript = transcriber(tmp_path / f"audio/{row['id'][1:]}.wav")
            assert row["text"] == transcript.text
            assert [word["text"] for word in row["words"]] == [word.text for word in transcript.words]
            assert row["score"] == pytest.approx(transcript.score)
            assert row["error"] is None
    assert rows[2]["text"] == ""
    assert results.table(["id"]).num_rows == len(results) == 8
    assert results.about["command"] == "transcribe"


def test_parts_write_into_one_folder_what_one_run_writes(model: Path, manifest: Path, tmp_path: Path) -> None:
    assert transcribe(model, manifest, tmp_path / "whole") == 0
    assert transcribe(model, manifest, tmp_path / "parts", "--part", "2/3") == 0
    with pytest.raises(UserError, match=r"tasks are missing, the first is number 1: run the same command again"):
        read_results(tmp_path / "parts")
    for part in ("1/3", "3/3"):
        assert transcribe(model, manifest, tmp_path / "parts", "--part", part) == 0
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


def test_what_is_there_is_not_computed_again(
    model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert transcribe(model, manifest, out) == 0
    whole = content(out)
    names = sorted(whole)
    (out / names[1]).unlink()
    (out / names[2]).write_bytes(whole[names[2]][:-20])  # a disk that lost the end of a file
    (out / f".{names[1]}.elsewhere-7.tmp").write_bytes(b"of a process that was killed")
    kept = [*names[:1], *names[3:]]
    before = {name: (out / name).stat().st_mtime_ns for name in kept}
    capfd.readouterr()
    assert transcribe(model, manifest, out) == 0
    assert content(out) == whole
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == before
    assert f"{len(names)} tasks, {len(names) - 2} of them done before" in capfd.readouterr().err
    monkeypatch.setattr(Transcriber, "stream", lambda *_: pytest.fail("nothing is left to do"))
    assert transcribe(model, manifest, out, "--part", "1/2") == 0  # other parts share the plan


def test_an_interruption_loses_the_task_in_work_only(
    model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert transcribe(model, manifest, tmp_path / "whole") == 0
    real, calls = Transcriber.stream, []

    def stream(self: Transcriber, recordings: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, recordings)  # type: ignore[arg-type]

    monkeypatch.setattr(Transcriber, "stream", stream)
    assert transcribe(model, manifest, tmp_path / "out") == 130
    assert capfd.readouterr().err.count("interrupted") == 1
    assert len(content(tmp_path / "out")) == 2
    assert transcribe(model, manifest, tmp_path / "out") == 0
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize("change", ["model", "options", "manifest", "tasks"])
def test_results_of_something_else_are_refused(
    change: str, model: Path, manifest: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert transcribe(model, manifest, tmp_path / "out") == 0
    before = content(tmp_path / "out")
    options: list[str] = []
    if change == "model":
        model = tmp_path / "other"
        wav2vec2.save(recognizer(FAMILIES["group"], VOCABULARY, seed=5), model)
    elif change == "options":
        options = ["--window-seconds", "20"]
    elif change == "manifest":
        rows = [*Manifest.open(manifest)]
        rows[0] = replace(rows[0], start=1, samples=rows[0].samples - 1)
        write_manifest(rows, manifest)
    else:
        options = ["--task-minutes", "0.02"]
    capfd.readouterr()
    assert transcribe(model, manifest, tmp_path / "out", *options) == 2
    said = capfd.readouterr().err
    assert "name another folder with --out" in said
    assert len(said.splitlines()) == 1
    assert content(tmp_path / "out") == before


def test_a_row_that_cannot_be_read_is_noted_and_retried_on_request(
    model: Path, manifest: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, lost = tmp_path / "out", tmp_path / "audio/3.wav"
    away = lost.rename(tmp_path / "away.wav")
    assert transcribe(model, manifest, out) == 2
    assert "1 of 8 utterances could not be read" in capfd.readouterr().err
    (failed,) = [row for row in read_results(out) if row["error"] is not None]
    assert failed["id"] == "u3"
    assert failed["text"] is None
    assert "3.wav" in failed["error"]
    away.rename(lost)
    assert transcribe(model, manifest, out) == 2  # it is known
    assert transcribe(model, manifest, out, "--retry-failed") == 0
    assert read_results(out).failed == 0


def test_a_split_is_a_work_of_its_own(model: Path, manifest: Path, tmp_path: Path) -> None:
    assert transcribe(model, manifest, tmp_path / "out", "--split", "dev") == 0
    assert [row["id"] for row in read_results(tmp_path / "out")] == ["u5", "u6", "u7"]


def test_n_best_lists(model: Path, manifest: Path, tmp_path: Path) -> None:
    words = ["transcribe", "--model", str(model), str(manifest), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, "--decoder", "beam", "--nbest", "3", "--workers", "1"]) == 0
    rows = list(read_results(tmp_path / "out"))
    assert len(rows[0]["nbest"]) == 3
    assert rows[0]["nbest"][0]["text"] == rows[0]["text"]
    assert 0 < rows[0]["confidence"] <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{manifest}"], "name the folder for the transcripts"),
        (["{manifest}", "{audio}", "--out", "x"], "name manifests or recordings, not both"),
        (["{audio}", "--part", "1/2"], "are for a manifest"),
        (["{manifest}", "--out", "x", "--part", "4/3"], "must be written like 3/64"),
        (["{manifest}", "--out", "x", "--task-minutes", "0"], "must be above 0"),
        (["{manifest}.parquet", "--out", "x"], "no manifest found"),
        (["{manifest}", "--out", "x", "--split", "none"], "has no split 'none'"),
        (["{manifest}", "--out", "x", "--ray-cpus", "-1"], "must be 0 or more"),
    ],
)
def test_wrong_words_are_one_line(
    words: list[str], said: str, model: Path, manifest: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    known = {"manifest": str(manifest), "audio": str(tmp_path / "audio/0.wav")}
    assert main(["transcribe", "--model", str(model), *(word.format(**known) for word in words)]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_missing_ray_is_one_line(
    model: Path,
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert transcribe(model, manifest, tmp_path / "out", "--engine", "ray") == 2
    assert "pip install 'wav2vec2[ray]'" in capfd.readouterr().err


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no results"):
        read_results(tmp_path)


def test_a_flipped_bit_is_noticed(model: Path, manifest: Path, tmp_path: Path) -> None:
    assert transcribe(model, manifest, tmp_path / "out", "--task-minutes", "10") == 0
    (name,) = read_results(tmp_path / "out").files
    data = bytearray(Path(name).read_bytes())
    data[30] ^= 1  # in the first page
    Path(name).write_bytes(data)
    with pytest.raises(UserError, match="cannot be read"):
        list(read_results(tmp_path / "out"))


def test_results_in_an_object_store(
    model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as endpoint:
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        forget_connections()
        import s3fs

        store = s3fs.S3FileSystem(endpoint_url=endpoint)
        store.mkdir("bucket")
        words = ["transcribe", "--model", str(model), str(manifest), "--device", "cpu", "--task-minutes", "0.01"]
        assert main([*words, "--out", "s3://bucket/out", "--part", "1/2"]) == 0
        store.invalidate_cache()
        first = store.ls("bucket/out", detail=False)
        assert main([*words, "--out", "s3://bucket/out"]) == 0
        results = read_results("s3://bucket/out")
        assert 0 < len(first) < len(results.files)
        rows = list(results)
    forget_connections()
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert rows == list(read_results(tmp_path / "out"))


def test_evaluate_scores_what_was_transcribed(
    model: Path, manifest: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert transcribe(model, manifest, tmp_path / "out") == 0
    words = ["evaluate", str(model), str(manifest), "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "anew.json")]) == 0
    monkeypatch.setattr(Transcriber, "stream_searches", lambda *_: pytest.fail("all is transcribed"))
    assert main([*words, "--transcripts", str(tmp_path / "out"), "--out", str(tmp_path / "stored.json")]) == 0
    anew, stored = (json.loads((tmp_path / name).read_text()) for name in ("anew.json", "stored.json"))
    for name in ("wer", "cer", "worst", "utterances", "seconds", "untranscribed", "confidences"):
        assert stored[name] == anew[name]
    capfd.readouterr()
    assert main([*words, "--transcripts", str(tmp_path / "out"), "--beam", "7"]) == 2
    assert "have no effect" in capfd.readouterr().err
    rows = [replace(row, id=f"{row.id}-other") for row in Manifest.open(manifest)]
    write_manifest(rows, manifest)
    assert main([*words, "--transcripts", str(tmp_path / "out")]) == 2
    assert "has no results of 5 of the 5 transcribed utterances" in capfd.readouterr().err


@pytest.mark.parametrize("note", ["", "[]", '{"key": 1, "work": "w"}', '{"key": "k"}', '{"x": ' * 50_000, None])
def test_a_stranger_s_file_under_the_name_of_a_result_is_refused(tmp_path: Path, note: str | None) -> None:
    table = pa.table({"id": ["a"]}).replace_schema_metadata({} if note is None else {"wav2vec2": note})
    pq.write_table(table, tmp_path / "results-00001-of-00001.parquet")
    with pytest.raises(UserError, match="is damaged: run the same command again"):
        read_results(tmp_path)
