"""Facts: Kaldi's "Data preparation" page (wav.scp with commands, segments with an end of -1), the pipes of its recipes
(LibriSpeech's flac, WSJ's and Switchboard's sph2pipe, speed perturbation by sox), and lhotse's own fixtures (cuts,
recordings, supervisions, a recording that is a command, shar_ptr sources as its audio/source.py documents them)."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.corpora.test_pairs import layout
from tests.data.made_up_speech import voice, write

from wav2vec2.data.corpora.toolkits import scan_kaldi, scan_lhotse
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.layouts import PrepareKaldi, PrepareLhotse, run
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError


def rejections(items: object) -> dict[str, str]:
    return {item.id: item.reason for item in items if isinstance(item, Rejection)}  # type: ignore[attr-defined]


def test_kaldi_with_segments(tmp_path: Path) -> None:
    write(tmp_path / "wav" / "call.wav", voice(4.0, rate=8_000), 8_000)
    data = layout(
        tmp_path / "data" / "dev",
        {
            "wav.scp": f"call {tmp_path}/wav/call.wav\n",
            "segments": "ann-1 call 0.5 1.5\nben-1 call 2 -1\ncat-1 call 3 2\ndan-1 lost 0 1\neve-1 call 0 1\n",
            "text": "ann-1 HELLO THERE\nben-1 GOOD  BYE\ncat-1 X\ndan-1 X\nfay-1 X\n",
            "utt2spk": "ann-1 ann\nben-1 ben\n",
            "utt2lang": "ann-1 en\n",
        },
    )
    manifest = Manifest.open(run(PrepareKaldi(folders=(tmp_path / "data",), out=tmp_path / "out", workers=1)))
    assert [(row.id, row.start, row.samples, row.text, row.speaker, row.split, row.language) for row in manifest] == [
        ("ann-1", 8_000, 16_000, "HELLO THERE", "ann", "dev", "en"),
        ("ben-1", 32_000, 32_000, "GOOD BYE", "ben", "dev", ""),
    ]
    assert rejections(scan_kaldi([data])) == {
        "cat-1": "bad table row",
        "dan-1": "missing",
        "eve-1": "audio without transcript",
        "fay-1": "transcript without audio",
    }


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("flac -c -d -s /x/a.flac |", "/x/a.flac"),
        ("/usr/bin/flac -dcs '/x/a b.flac' |", "/x/a b.flac"),
        ("sph2pipe -f wav /x/a.wv1 |", None),  # a packed SPHERE file that nothing here reads
        ("/kaldi/tools/sph2pipe_v2.5/sph2pipe -f wav -p /x/a.sph |", "/x/a.sph"),
        ("sph2pipe -f wav -p -c 1 /x/a.sph |", None),  # one speaker of two
        ("ffmpeg -i /x/a.mp3 -f wav -ar 16000 -ac 1 - |", "/x/a.mp3"),
        ("flac -c -d -s /x/a.flac | sox -t wav - -r 16k -t wav - |", "/x/a.flac"),
        ("sox /x/a.wav -t wav - speed 1.1 |", None),
        ("sox -m /x/a.wav /x/b.wav -t wav - |", None),
        ("cat /x/a.wav; touch /tmp/never |", None),
        ("flac -c -d $(touch /tmp/never) /x/a.flac |", None),
        ("python evil.py /x/a.wav |", None),
        ("wget -O - http://example.org/a.wav |", None),
        ("'unclosed |", None),
        ("|", None),
    ],
)
def test_no_command_of_kaldi_is_run(tmp_path: Path, command: str, path: str | None) -> None:
    data = layout(tmp_path / "train", {"wav.scp": f"a {command}\n"})
    (item,) = scan_kaldi([data])
    if path is None:
        assert isinstance(item, Rejection)
        assert item.reason == "command"
        assert "no command is run from a file" in item.message
    else:
        assert isinstance(item, Utterance)
        assert (item.path, item.text) == (path, None)


def test_a_command_that_chooses_a_channel_is_read_only_if_there_is_one(tmp_path: Path) -> None:
    """The commands of lhotse's export_to_kaldi and of Kaldi's recipes for Switchboard and AMI."""
    write(tmp_path / "wav" / "mono.wav", voice(0.3))
    write(tmp_path / "wav" / "two.wav", np.stack([voice(0.3), voice(0.3, seed=1)], axis=1))
    for command in (
        "ffmpeg -threads 1 -i wav/{} -ar 16000 -map_channel 0.0.0  -f wav -threads 1 pipe:1 |",
        "sph2pipe -f wav -p -c 1 wav/{} |",
        "sox wav/{} -t wav - remix 1 |",
    ):
        layout(
            tmp_path / "train",
            {"wav.scp": "".join(f"{name} {command.format(f'{name}.wav')}\n" for name in ("mono", "two"))},
        )
        found = list(scan_kaldi([tmp_path / "train"]))
        assert [getattr(item, "reason", item.path) for item in found] == [str(tmp_path / "wav" / "mono.wav"), "command"]


def test_kaldi_paths_and_archives(tmp_path: Path) -> None:
    layout(tmp_path, {"wav/a.wav": "", "data/train/wav.scp": "a wav/a.wav\nb raw_mfcc/x.ark:17\n"})
    found = list(scan_kaldi([tmp_path]))
    assert isinstance(found[0], Utterance)
    assert found[0].path == str(tmp_path / "wav" / "a.wav")  # seen from the folder of the recipe
    assert rejections(found) == {"b": "archive"}
    with pytest.raises(UserError, match=r"holds no wav.scp"):
        list(scan_kaldi([tmp_path / "wav"]))


def recording(path: str, seconds: float = 4.0, kind: str = "file", **more: Any) -> dict[str, Any]:
    sources = [{"type": kind, "channels": [0], "source": path}]
    return {"id": "r", "sources": sources, "sampling_rate": 16_000, "duration": seconds, **more}


def supervision(identity: str, start: float, duration: float, **more: Any) -> dict[str, Any]:
    return {"id": identity, "recording_id": "r", "start": start, "duration": duration, "channel": 0, **more}


def cut(identity: str, audio: dict[str, Any], *said: dict[str, Any], **span: float) -> dict[str, Any]:
    place = {"id": identity, "start": 0.0, "duration": 4.0, "channel": 0} | span
    return {**place, "supervisions": list(said), "recording": audio, "type": "MonoCut"}


def packed(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


def test_lhotse_cuts(tmp_path: Path) -> None:
    write(tmp_path / "wav" / "a.wav", voice(4.0))
    audio = recording("wav/a.wav")
    rows = [
        cut("whole", audio, supervision("s1", 0, 4, text="HELLO", speaker="7", language="English")),
        cut(
            "long",
            audio,
            supervision("s2", 0.5, 1, text="ONE"),
            supervision("s3", 1.5, 1, text="TWO"),
            start=1,
            duration=3,
        ),
        cut("silent", audio, start=2.0, duration=1.0),
        cut("heavy", audio, supervision("s4", 0, 4, custom={"texts": ["Written so.", "WRITTEN SO"]})),
    ]
    packed(tmp_path / "fbank" / "librispeech_cuts_dev-clean.jsonl.gz", rows)
    manifest = Manifest.open(run(PrepareLhotse(manifests=(tmp_path / "fbank",), out=tmp_path / "out", workers=1)))
    assert [(row.id, row.start, row.samples, row.text, row.speaker, row.split) for row in manifest] == [
        ("s1", 0, 64_000, "HELLO", "7", "dev-clean"),
        ("s2", 24_000, 16_000, "ONE", "", "dev-clean"),
        ("s3", 40_000, 16_000, "TWO", "", "dev-clean"),
        ("silent", 32_000, 16_000, None, "", "dev-clean"),
        ("s4", 0, 64_000, "Written so.", "", "dev-clean"),
    ]
    assert manifest.utterance(0).language == "English"


def test_lhotse_cuts_that_are_no_plain_piece_of_a_file(tmp_path: Path) -> None:
    two = {"sources": [{"type": "file", "channels": [0, 1], "source": "a.wav"}]}
    rows = [
        {"id": "mixed", "type": "MixedCut", "tracks": []},
        cut("command", recording("sox a.wav -t wav - |", kind="command")),
        cut("memory", recording("AAAA", kind="memory")),
        cut("fast", recording("a.wav", transforms=[{"name": "Speed", "kwargs": {"factor": 1.1}}])),
        cut("channel", recording("a.wav") | two),
        cut("beyond", recording("a.wav"), supervision("beyond", 3, 9, text="X")),
        {"id": "empty", "start": 0},
        ["no object"],
        cut("nan", recording("a.wav"), start=float("nan")),
        cut("shar", recording("shard.tar?o=512&e=1536", kind="shar_ptr")),
        cut("good", recording("a.wav", transforms=[{"name": "Resample", "kwargs": {}}])),
    ]
    found = list(scan_lhotse([packed(tmp_path / "cuts_train.jsonl.gz", rows)]))
    assert rejections(found) == {
        "mixed": "mixed cut", "command": "no plain file", "memory": "no plain file", "fast": "no plain file",
        "channel": "no plain file", "beyond": "cut text", "empty": "bad table row", "": "bad table row",
        "nan": "bad table row",
    }  # fmt: skip
    good = {row.id: row for row in found if isinstance(row, Utterance)}
    assert set(good) == {"shar", "good"}
    assert (good["shar"].offset, good["shar"].size) == (512, 1_024)
    assert good["good"].split == "train"


def test_lhotse_recordings_and_supervisions(tmp_path: Path) -> None:
    recordings = [recording(f"{tmp_path}/a.wav"), recording("b.wav") | {"id": "other"}]
    packed(tmp_path / "x_recordings_test.jsonl.gz", recordings)
    said = [supervision("s1", 1, 2, text="A"), supervision("s2", 3, 1, text="B")]
    packed(tmp_path / "x_supervisions_test.jsonl.gz", said)
    found = [row for row in scan_lhotse([tmp_path]) if isinstance(row, Utterance)]
    assert [(row.id, row.start, row.samples, row.text) for row in found] == [
        ("s1", 16_000, 32_000, "A"), ("s2", 48_000, 16_000, "B"), ("other", 0, -1, None),
    ]  # fmt: skip
    (tmp_path / "cuts.json").write_text(json.dumps([cut("c", recording("a.wav"))], indent=1))
    assert [item.id for item in scan_lhotse([tmp_path / "cuts.json"])] == ["c"]
    (tmp_path / "cuts.json").write_text("[" * 9_999)
    with pytest.raises(UserError, match="is not JSON"):
        list(scan_lhotse([tmp_path / "cuts.json"]))
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"holds no .cuts"):
        list(scan_lhotse([tmp_path / "none"]))
