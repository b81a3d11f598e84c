"""Small pickles that would take all memory, all time or the C stack of an unpickler, refused by their opcodes."""

import contextlib
import pickle
import resource
import struct
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import wav2vec2
from wav2vec2.checkpoints.tensors.opcodes import Scan
from wav2vec2.checkpoints.tensors.unpickle import closed_load
from wav2vec2.errors import UserError

DEEP = b"\x80\x02}" + b")" + b"\x85" * 300_000 + b"K\x01s."
"""A key of 300,000 nested tuples: hashing it overflows the C stack."""
WIDE = b"\x80\x02}" + b")" + b"2\x86" * 100 + b"K\x01s."
"""A key of 2^100 values: each tuple holds the one before it twice."""
PICKLES = {
    "deep key": DEEP,
    "wide key": WIDE,
    "wide key of SETITEMS": b"\x80\x02}(" + b")" + b"2\x86" * 100 + b"K\x01u.",
    "wide key of DICT": b"(" + b")" + b"2\x86" * 100 + b"K\x01d.",
    "wide item of a set": b"\x80\x04\x8f(" + b")" + b"2\x86" * 100 + b"\x90.",
    "wide item of a frozen set": b"\x80\x04(" + b")" + b"2\x86" * 100 + b"\x91.",
    "wide key through the memo": b"\x80\x02}" + b")" + b"q\x00h\x00\x86" * 100 + b"K\x01s.",
    "memo of 200 million places": b"\x80\x02]r" + struct.pack("<I", 200_000_000) + b".",
    "memo of 4 billion places": b"\x80\x02]r" + struct.pack("<I", 0xFFFFFFFF) + b".",
    "memo by text": b"]p200000000\n.",
    "memo by endless text": b"]p" + b"9" * 100_000 + b"\n.",
    "text of 2^62 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"a.",
    "bytes of 2^62": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"a.",
    "byte array of 2^62": b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b"a.",
    "bytes of 2^31": b"\x80\x03B" + struct.pack("<I", 0x7FFFFFFF) + b"a.",
    "integer of 2^31 bytes": b"\x80\x02\x8b" + struct.pack("<I", 0x7FFFFFFF) + b"a.",
    "frame of 2^62 bytes": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.",
    "protocol 255": b"\x80\xffN.",
    "integer of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
    "three million dictionaries": b"\x80\x02" + b"}" * 3_000_000 + b".",
    "no end": b"\x80\x02]",
    "an empty stack": b"\x80\x02s.",
    "no mark": b"\x80\x02]e.",
    "pops below a mark": b"\x80\x02](0a.",
    "memo that was never filled": b"\x80\x02h\x07.",
    "out of band": b"\x80\x05\x97.",
    "extension": b"\x80\x02\x82\x01.",
    "unknown opcode": b"\x80\x02\xfe.",
}


@pytest.fixture
def little_memory() -> Iterator[None]:
    """At most 2 GiB more than now for this process, for as long as a test runs."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (2 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def legacy(data: bytes) -> bytes:
    """A file in torch's older format, whose object is ``data``."""
    return b"".join(map(pickle.dumps, (0x1950A86A20F9469CFC6C, 1001, {}))) + data + pickle.dumps([])


@pytest.mark.parametrize("name", PICKLES)
@pytest.mark.usefixtures("little_memory")
def test_refused_in_one_line_at_once(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("archive/data.pkl", PICKLES[name])
    (tmp_path / "old.pt").write_bytes(legacy(PICKLES[name]))
    (tmp_path / "bare.pt").write_bytes(PICKLES[name])
    for path in tmp_path.iterdir():
        begin = time.process_time()
        with pytest.raises(UserError, match=path.name) as caught:
            wav2vec2.load(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
        assert time.process_time() - begin < 20


@pytest.mark.parametrize("call", [b"c__builtin__\nset\n", b"ccollections\nOrderedDict\n", b"ctorch\nSize\n"])
def test_a_wide_tuple_reaches_no_hash_through_a_call(call: bytes) -> None:
    wide = b")" + b"2\x86" * 100
    for argument in (wide, b"]" + wide + b"a", b"](" + wide + b"K\x01\x86e", b"]](" + wide + b"K\x01ea"):
        for then in (b"\x85R", b"\x85R0}" + b"h\x00K\x01s"):
            data = b"\x80\x02" + call + b"q\x01" + argument + b"q\x00" + then + b"."
            begin = time.process_time()
            with contextlib.suppress(pickle.UnpicklingError, TypeError):
                closed_load(data, Path("x"))
            assert time.process_time() - begin < 1


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_are_scanned_to_their_end(protocol: int) -> None:
    shared = ["x" * 300, ("a", 1, 2.5, None, True)]
    content = {
        "a": shared,
        "b": [shared, shared, 10**30, -5, 10**5, b"bytes" * 100, "é" * 70_000, {1, 2, 3}, frozenset({4})],
        ("key", 1): {"deep": [[[[[]]]]]},
        3: bytearray(b"x") if protocol == 5 else {},
    }
    data = pickle.dumps(content, protocol)
    assert Scan(b"before" + data + b"after", 6).end == 6 + len(data)
    assert Scan(data).end == len(data)


def test_files_of_torch_with_thousands_of_tensors_are_read(tmp_path: Path) -> None:
    state = {f"layer.{i}.weight": torch.full((2,), float(i)) for i in range(3000)}
    for zipped in (True, False):
        torch.save(state, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(UserError, match=r"layer\.0\.weight belong to no known"):  # it was read to its end
            wav2vec2.load(tmp_path / "m.pt")
