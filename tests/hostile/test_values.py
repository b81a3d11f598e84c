"""Values that no model, recipe or option has: each is one line, quoted in at most 80 characters, and nothing hangs."""

import json
import shutil
import struct
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.small_models import GROUP, recognizer

import wav2vec2
from wav2vec2.cli import main
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import SCHEMA
from wav2vec2.errors import UserError
from wav2vec2.lm.load import load_language_model
from wav2vec2.lm.ngram.arpa import read_arpa
from wav2vec2.lm.transformer.model_directory import TokenVocabulary, save_language_model
from wav2vec2.lm.transformer.network import LanguageModelSizes, TransformerNetwork
from wav2vec2.lm.words import ngram_order, ngram_words
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary

HUGE, LONG = 10**12, "x" * 100_000
VALUES: list[Any] = [HUGE, 10**400, -1, 1.5, True, None, LONG, [], {}, [[]], [HUGE] * 7, float("nan"), float("inf")]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    wav2vec2.save(recognizer(GROUP, Vocabulary.from_transcripts(["THE QUICK BROWN FOX"])), folder)
    return folder


@pytest.fixture
def model(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good, tmp_path / "m")
    return tmp_path / "m"


def one_line(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command; return its error, of one line, or nothing if it accepts what it was given."""
    begin = time.process_time()
    capsys.readouterr()
    status = main([str(word) for word in words])
    lines = capsys.readouterr().err.splitlines()
    assert time.process_time() - begin < 20
    assert len(lines) == (1 if status else 0), lines
    assert status in (0, 2)
    assert len("".join(lines)) < 700
    return "".join(lines)


@pytest.mark.parametrize("name", ["config.json", "vocab.json", "preprocessor_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20] if value != 10**400 else "10^400")
def test_every_key_of_every_file_with_every_value(
    name: str, value: Any, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((model / name).read_text())
    for key in [*list(content)[:60], "variant", "mask_time_variant", "gumbel_temperature", "pos_conv_depth"]:
        (model / name).write_text(json.dumps({**content, key: value}))
        one_line(capsys, "info", model)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b'{"a":' * 5000,
        b"",
        b"null",
        b"3",
        b"\xff",
        b"\0",
        b'{"vocab_size": 1, "vocab_size": 2}',
        b'{"vocab_size": ' + b"9" * 5000 + b"}",
        b'{"\\ud800": 0}',
    ],
)
def test_files_that_are_no_settings(raw: bytes, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("config.json", "vocab.json", "preprocessor_config.json", "tokenizer_config.json"):
        before = (model / name).read_bytes()
        (model / name).write_bytes(raw)
        assert name in one_line(capsys, "info", model)
        (model / name).write_bytes(before)


@pytest.mark.parametrize(
    "shards",
    [{}, None, 3, {"a": 3}, {"a": "../../etc/passwd"}, {"a": "/dev/zero"}, {"a": ""}, {"a": "\0"}, {"a": LONG}],
)
def test_an_index_names_shards_of_its_own_folder(shards: Any, model: Path) -> None:
    (model / "model.safetensors").rename(model / "part.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(UserError, match=str(model)):
        wav2vec2.load(model)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [HUGE, HUGE]},
        {"shape": [2**62, 4]},
        {"shape": [-1]},
        {"shape": "x"},
        {"shape": [1.5]},
        {"shape": None},
        {"shape": [1] * 1000},
        {"dtype": "F7"},
        {"dtype": 3},
        {"data_offsets": [0, HUGE]},
        {"data_offsets": [5, 1]},
        {"data_offsets": []},
        {"data_offsets": "x"},
        {"data_offsets": [0.5, 1.5]},
    ],
)
def test_headers_of_safetensors_describe_what_is_there(change: dict[str, Any], model: Path) -> None:
    data = (model / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    name = next(name for name in header if name != "__metadata__")
    written = json.dumps({**header, name: {**header[name], **change}}).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(written)) + written + data[8 + length :])
    with pytest.raises(UserError, match=r"model\.safetensors") as caught:
        wav2vec2.load(model)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "raw",
    [
        b"a = " + b"[" * 100_000,
        b"a = " + b"1" * 5000,
        b"train = 3",
        b"[train]\nupdates = 1.5",
        b"[train]\nupdates = true",
        b"[train]\nupdates = 1000000000000000000000",
        b"[train]\nlr = 0x" + b"f" * 5000,
        b"[train]\nlr = nan",
        b"[train]\nthreads = 1000000000000",
        b"[model]\nlayers = 1000000000000",
        b"[data]\nmanifest = 'a\\u0000b'",
        b'output = "a\\u0000b"',
        b"extends = 3",
        b"extends = '.'",
        b'extends = "a\\u0000b"',
        b"'" + b"x" * 100_000 + b"' = 1",
        b"\xff",
    ],
)
def test_recipes_and_presets(raw: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.toml").write_bytes(raw)
    for command in ("pretrain", "finetune"):
        assert one_line(capsys, command, tmp_path / "r.toml", "--output", tmp_path / "out")
    assert one_line(capsys, "transcribe", "none.wav", "--model", "none", "--preset", tmp_path / "r.toml")


@pytest.mark.parametrize("count", ["²", "9" * 5000, "9999999999", "1e3", "-1", ""])
def test_counts_of_arpa_files(count: str, tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    path.write_text(f"\\data\\\nngram 1={count}\n\n\\1-grams:\n-1 <unk>\n-1 <s>\n\n\\end\\\n", encoding="utf-8")
    for read in (read_arpa, ngram_words):
        with pytest.raises(UserError, match=r"lm\.arpa"):
            read(path)
    assert ngram_order(path) in (1, None)


def test_sizes_of_language_models_are_those_of_their_weights(tmp_path: Path) -> None:
    vocabulary = TokenVocabulary(("</s>", "<unk>", "A", "B"), "words", TextNormalization())
    sizes = LanguageModelSizes(hidden_size=8, layers=1, ffn_size=16, heads=2, cutoffs=())
    save_language_model(TransformerNetwork(sizes, 4), vocabulary, tmp_path)
    assert load_language_model(tmp_path).tokens == vocabulary.tokens
    content = json.loads((tmp_path / "config.json").read_text())
    for key in content["sizes"]:
        for value in VALUES:
            changed = {**content, "sizes": {**content["sizes"], key: value}}
            (tmp_path / "config.json").write_text(json.dumps(changed))
            if key in ("hidden_size", "layers", "ffn_size", "heads") and value is not True:
                with pytest.raises(UserError, match=str(tmp_path)) as caught:
                    load_language_model(tmp_path)
                assert len(str(caught.value)) < 700
    for key in ("sizes", "normalization", "unit", "vocab_size"):
        for value in VALUES:
            (tmp_path / "config.json").write_text(json.dumps({**content, key: value}))
            if (key, value) != ("normalization", {}):
                with pytest.raises(UserError, match=str(tmp_path)):
                    load_language_model(tmp_path)


@pytest.mark.parametrize("value", ["1000000000000", "1" * 30, "1" * 5000])
@pytest.mark.parametrize(
    "words",
    [
        "transcribe m a.wav --beam",
        "transcribe m a.wav --nbest",
        "transcribe m a.wav --workers",
        "pretrain --train.threads",
        "pretrain --model.layers",
        "pretrain --data.manifest d --batch.workers",
        "lm ngram x.txt --out o.arpa --order",
        "lm ngram x.txt --out o.arpa --memory",
        "evaluate m d.parquet --replications",
    ],
)
def test_counts_of_a_command_line(words: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert one_line(capsys, *words.split(), value)


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_text_of_a_manifest_that_is_not_utf8(suffix: str, tmp_path: Path) -> None:
    names = [field.name for field in SCHEMA]
    row = {"id": "a", "path": "a.wav", "start": 0, "samples": 16000, "sample_rate": 16000, "text": "MARK-ME-HERE"}
    row |= dict.fromkeys(("speaker", "split", "language", "source"), "")
    table = pa.Table.from_pylist([{name: row.get(name) for name in names} | {"offset": -1, "size": -1}], SCHEMA)
    path = tmp_path / f"m.{suffix}"
    if suffix == "parquet":
        pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
            writer.write_table(table)
    assert Manifest.open(path).utterance(0).text == "MARK-ME-HERE"
    path.write_bytes(path.read_bytes().replace(b"MARK-ME-HERE", b"MARK\xc1ME-HERE"))
    with pytest.raises(UserError, match=f"m.{suffix}"):
        Manifest.open(path)
