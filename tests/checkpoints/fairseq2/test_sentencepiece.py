"""Pieces of SentencePiece models, read again, and by the library's own definition of the format."""

from pathlib import Path

import pytest

from wav2vec2.checkpoints.fairseq2.sentencepiece import read_pieces, write_character_model
from wav2vec2.errors import UserError

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")


@pytest.mark.parametrize(
    "symbols",
    [("|", "a", "é", "語"), tuple(map(chr, range(0x4E00, 0x4E00 + 300))), tuple("x" * n for n in range(1, 300))],
    ids=("few", "many", "long"),
)
def test_what_is_written_is_read(symbols: tuple[str, ...], tmp_path: Path) -> None:
    write_character_model(tmp_path / "tokenizer.model", symbols)
    assert read_pieces(tmp_path / "tokenizer.model") == (*SPECIALS, *symbols)


@pytest.mark.parametrize("count", [3, 122, 123, 300])
def test_the_definition_of_the_format_reads_what_is_written(count: int, tmp_path: Path) -> None:
    pytest.importorskip("google.protobuf")
    definition = pytest.importorskip("transformers.utils.sentencepiece_model_pb2_new")
    path = tmp_path / "tokenizer.model"
    letters = tuple(map(chr, range(0x4E00, 0x4E00 + count)))
    write_character_model(path, ("|", *letters))
    model = definition.ModelProto.FromString(path.read_bytes())
    assert model.SerializeToString() == path.read_bytes()
    assert [piece.piece for piece in model.pieces] == [*SPECIALS, "\u2581", *letters]
    kinds = definition.ModelProto.SentencePiece
    assert [piece.type for piece in model.pieces] == [kinds.CONTROL] * 3 + [kinds.UNKNOWN] + [kinds.NORMAL] * (
        count + 1
    )
    scores = [piece.score for piece in model.pieces]
    assert scores[:4] == [0.0] * 4
    assert scores[4:] == sorted(set(scores[4:]), reverse=True)  # earlier pieces first, as its own trainer has it
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    assert (trainer.model_type, trainer.vocab_size) == (definition.TrainerSpec.CHAR, 5 + count)
    assert (trainer.unk_id, trainer.bos_id, trainer.eos_id, trainer.pad_id) == (3, 0, 2, 1)
    assert (trainer.unk_piece, trainer.bos_piece, trainer.eos_piece, trainer.pad_piece) == (
        "<unk>", "<s>", "</s>", "<pad>",
    )  # fmt: skip
    written = {field.name for field, _ in (*trainer.ListFields(), *normalizer.ListFields())}
    assert written == {
        "model_type", "vocab_size",
        *(f"{mark}_{kind}" for mark in ("unk", "bos", "eos", "pad") for kind in ("id", "piece")),
        "name", "add_dummy_prefix", "remove_extra_whitespaces", "escape_whitespaces",
    }  # fmt: skip
    assert normalizer.name == "identity"
    assert (normalizer.add_dummy_prefix, normalizer.remove_extra_whitespaces) == (False, True)
    assert normalizer.escape_whitespaces


def test_a_model_of_the_library_is_read(tmp_path: Path) -> None:
    pytest.importorskip("google.protobuf")
    definition = pytest.importorskip("transformers.utils.sentencepiece_model_pb2_new")
    model = definition.ModelProto()
    for piece in ("<unk>", "\u2581", "a", "\u2581the"):
        model.pieces.add(piece=piece, score=-1.5)
    model.trainer_spec.vocab_size = 4
    model.trainer_spec.input.append("text.txt")
    path = tmp_path / "tokenizer.model"
    path.write_bytes(model.SerializeToString())
    assert read_pieces(path) == ("<unk>", "|", "a", "\u2581the")
    model.pieces.add(piece="|")
    path.write_bytes(model.SerializeToString())
    assert read_pieces(path) == ("<unk>", "\u2581", "a", "\u2581the", "|")


def test_fields_of_every_kind_may_stand_before_a_piece(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    others = (
        b"\x18" + b"\xff" * 9 + b"\x01",  # -1, the longest number
        b"\x15" + b"\x0a\x01b\x00",  # four bytes
        b"\x21" + b"\x0a\x01c\x00" * 2,  # eight bytes
        b"\x2a\x03\x0a\x01d",  # bytes
    )
    for other in others:
        message = other + b"\x0a\x01a"
        path.write_bytes(other.replace(b"\x0a", b"\x1a") + b"\x0a" + bytes([len(message)]) + message)
        assert read_pieces(path) == ("a",)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "holds no pieces"),
        (b"\x0a\x05\x0a\x01", "cut short"),
        (b"\x0a\x02\x10\x01", "not a SentencePiece model"),
        (b"\x0a\x03\x0a\x01\xff", "not a SentencePiece model"),
        (b"\x00\x01", "cut short"),
        (b"\xff" * 12, "not a SentencePiece model"),
        (b"\x0b", "not a SentencePiece model"),
    ],
)
def test_what_holds_no_pieces_is_one_line(content: bytes, part: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(UserError, match=part) as caught:
        read_pieces(tmp_path / "tokenizer.model")
    assert str(caught.value).startswith(str(tmp_path / "tokenizer.model"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="absent"):
        read_pieces(tmp_path / "absent")
