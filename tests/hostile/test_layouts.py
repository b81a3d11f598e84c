"""Files of every layout, damaged at random: rows, rejections or one line, never a traceback; and nothing is run."""

import io
import random
import tarfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wav2vec2.cli import main
from wav2vec2.data.corpora.common_voice import scan_common_voice
from wav2vec2.data.corpora.fairseq import scan_fairseq
from wav2vec2.data.corpora.huggingface import scan_audio_folder, scan_unpacked, unpack_parquet
from wav2vec2.data.corpora.openslr import scan_stm
from wav2vec2.data.corpora.pairs import scan_pairs
from wav2vec2.data.corpora.recognise import recognise
from wav2vec2.data.corpora.table import scan_table
from wav2vec2.data.corpora.toolkits import scan_kaldi, scan_lhotse
from wav2vec2.data.corpora.tts import scan_pipes
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError

CUT = (
    b'{"id": "c", "start": 0, "duration": 1.5, "channel": 0, "type": "MonoCut", "supervisions": [{"id": "s", '
    b'"start": 0, "duration": 1.5, "text": "X"}], "recording": {"id": "r", "sources": [{"type": "file", '
    b'"channels": [0], "source": "a.wav"}], "sampling_rate": 16000, "duration": 1.5}}\n'
)
CV = b'client_id\tpath\tsentence\nann\ta.mp3\t"Ja", x\nben\tb.mp3\t"""q"""\n'
PIECES = [
    b'"', b"\t", b",", b"|", b"\n", b"\r", b"\0", b"\xff\xfe", b"[", b"{", b"9" * 400, b"nan", b"1e999", b"null", b"[]",
    b"\\ud800", b"\xed\xa0\x80", b"1" * 5_000, b" | ", b"-1",
]  # fmt: skip
Scan = Callable[[Path], Iterable[object]]


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("a", "b"):
            member = tarfile.TarInfo(f"x/{name}.mp3")
            member.size = 700
            tar.addfile(member, io.BytesIO(bytes(700)))
    return buffer.getvalue()


def parquet() -> bytes:
    buffer = io.BytesIO()
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    sound = pa.array([{"bytes": b"x" * 99, "path": "a.wav"}] * 3, kind)
    pq.write_table(pa.table({"audio": sound, "text": ["a", "b", "c"]}), buffer)
    return buffer.getvalue()


FILES: dict[str, tuple[bytes, Scan]] = {
    "table/t.csv": (b'path,text\na.wav,"x, ""y"""\nb.wav,z\n', scan_table),
    "table/t.tsv": (CV, scan_table),
    "table/t.json": (b'{"a": {"wav": "a.wav", "words": "X"}, "b": {"wav": "b.wav", "words": "Y"}}', scan_table),
    "kaldi/wav.scp": (b"a flac -c -d -s /x/a.flac |\nb a.wav\nc x.ark:3\n", lambda path: scan_kaldi([path.parent])),
    "kaldi/segments": (b"a-1 a 0.5 1.5\nb-1 b 0 -1\n", lambda path: scan_kaldi([path.parent])),
    "lhotse/x_cuts_dev.jsonl": (CUT * 3, lambda path: scan_lhotse([path])),
    "pairs/a.srt": (b"1\n00:00:00,500 --> 00:00:02,000\n<i>x</i>\n\n", lambda path: scan_pairs(path.parent)),
    "pipes/metadata.csv": (b"a|x y|x z\nb|y|y\n", lambda path: scan_pipes(path.parent)),
    "stm/a.stm": (b"a 1 ann 0.50 2.00 <o,f0,male> so\n", lambda path: scan_stm(path.parent)),
    "cv/fr/train.tsv": (CV, lambda path: scan_common_voice(path.parent.parent, tables=["train"])),
    "hub/audio/fr/train/fr_train_0.tar": (archive(), lambda path: scan_common_voice(path.parents[3], tables=["train"])),
    "hf/train.parquet": (
        parquet(),
        lambda path: scan_unpacked(unpack_parquet(path.parent, path.parents[1] / "out"), "x"),
    ),
    "folder/metadata.csv": (b'file_name,text\na.wav,"x ""y"""\n', lambda path: scan_audio_folder(path.parent)),
    "fairseq/train.tsv": (b"/x\na.wav\t1\nb.zip:3:4\t4\n", lambda path: scan_fairseq([path])),
}


def damaged(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5])):
        place = chance.randrange(len(changed) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            changed[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            changed[place:place] = chance.choice(PIECES)
        elif kind == 2:
            del changed[place : place + chance.choice([1, 3, 20, 200])]
        else:
            changed = changed[:place]
    return bytes(changed)


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_give_rows_rejections_or_one_line(tmp_path: Path, name: str) -> None:
    content, scan = FILES[name]
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    for beside in ("pairs/a.wav", "cv/fr/clips/a.mp3"):
        (tmp_path / beside).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / beside).touch()
    for beside, (other, _) in FILES.items():
        if beside.startswith("kaldi") and name.startswith("kaldi"):
            (tmp_path / beside).write_bytes(other)
    (tmp_path / "hub" / "transcript" / "fr").mkdir(parents=True)
    (tmp_path / "hub" / "transcript" / "fr" / "train.tsv").write_bytes(CV)
    chance = random.Random(name)
    for _ in range(40):
        path.write_bytes(damaged(content, chance))
        for read in (scan, lambda path: [recognise(path)], lambda path: [recognise(path.parent)]):
            found: list[object] = []
            with suppress(UserError):
                found = list(read(path))
            assert read is not scan or all(isinstance(item, Utterance | Rejection) for item in found)


def test_commands_in_files_are_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "train").mkdir()
    lines = (f"a touch {mark} |", f"b flac -c -d `touch {mark}` /x/a.flac |", f"c cat /x/a.wav | touch {mark} |")
    (tmp_path / "train" / "wav.scp").write_text("\n".join(lines) + "\n")
    assert main(["prepare", "kaldi", str(tmp_path / "train"), "--out", str(tmp_path / "out"), "--workers", "1"]) == 2
    command = CUT.replace(b'"type": "file"', b'"type": "command"').replace(b"a.wav", f"touch {mark}".encode())
    (tmp_path / "cuts.jsonl").write_bytes(command)
    assert main(["prepare", "lhotse", str(tmp_path / "cuts.jsonl"), "--out", str(tmp_path / "out")]) == 2
    assert "all rejected" in capsys.readouterr().err
    assert not mark.exists()


@pytest.mark.parametrize("command", ["table", "kaldi", "lhotse", "fairseq"])
def test_no_source_at_all_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", command]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("error: ")
