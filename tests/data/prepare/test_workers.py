import multiprocessing
import os
import signal
from pathlib import Path

from tests.data.made_up_speech import voice, write

from wav2vec2.data.prepare.decode import Rules
from wav2vec2.data.prepare.examine import Chunk, begun_recording, read_journal
from wav2vec2.data.prepare.workers import run_chunks
from wav2vec2.data.utterance import Utterance


class Deadly(Utterance):
    """A recording that ends the worker process which examines it, as a bug in a decoder does."""

    def __getattribute__(self, name: str) -> object:
        if name == "text" and multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getattribute__(name)


def examined(recordings: list[list[Utterance]], folder: Path, workers: int) -> tuple[list[str], list[str]]:
    """The ids that were accepted, and the messages of those that were rejected."""
    chunks = [Chunk(tuple(rows), folder / f"{place}.parquet", Rules()) for place, rows in enumerate(recordings)]
    finished: list[Chunk] = []
    run_chunks(iter(chunks), workers, lambda chunk, samples: finished.append(chunk))
    assert sorted(finished, key=lambda chunk: chunk.journal) == chunks
    accepted, rejected = [], []
    for chunk in chunks:
        assert begun_recording(chunk.journal) is None
        batch, metadata = read_journal(chunk.journal)
        accepted += batch.column("id").to_pylist() if batch is not None else []
        rejected.append(metadata["rejected"])
    return accepted, rejected


def recording(folder: Path, name: str, kind: type[Utterance] = Utterance) -> Utterance:
    return kind(id=name, path=str(write(folder / f"{name}.wav", voice(0.3))))


def test_a_recording_that_kills_its_worker_is_rejected_and_the_others_go_on(tmp_path: Path) -> None:
    rows = [
        [recording(tmp_path, "a"), recording(tmp_path, "b", Deadly), recording(tmp_path, "c")],
        [recording(tmp_path, "d")],
        [recording(tmp_path, "e", Deadly), recording(tmp_path, "f", Deadly), recording(tmp_path, "g")],
    ]
    accepted, rejected = examined(rows, tmp_path / "journal", workers=2)
    assert accepted == ["a", "c", "d", "g"]
    assert [text.count("crashes the decoder") for text in rejected] == [1, 0, 2]
    assert "b.wav: makes the process that decodes it die" in rejected[0]


def test_a_chunk_at_which_a_run_died_is_examined_in_a_process_of_its_own(tmp_path: Path) -> None:
    rows = [[recording(tmp_path, "a"), recording(tmp_path, "b", Deadly)]]
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "0.begun").write_bytes(b"       0")  # the run before was killed while it read a.wav
    accepted, rejected = examined(rows, tmp_path / "journal", workers=1)
    assert accepted == ["a"]
    assert "b.wav" in rejected[0]
