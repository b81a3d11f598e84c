"""The files of a Hugging Face CTC tokenizer as plain values.

They are `vocab.json`, `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`, which is only read.
transformers' Wav2Vec2CTCTokenizer splits text into characters, its Wav2Vec2PhonemeCTCTokenizer at spaces: the class
name gives the unit of a vocabulary. transformers 5 treats the word delimiter as a special token, and a literal `|` in
text as a word delimiter.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wav2vec2.config import read_json
from wav2vec2.errors import UserError
from wav2vec2.output_file import writing_together

TOKENIZER_FILES = ("vocab.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
CHARACTER_CLASS, PHONE_CLASS = "Wav2Vec2CTCTokenizer", "Wav2Vec2PhonemeCTCTokenizer"
_DEFAULTS = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


@dataclass(frozen=True)
class TokenizerFiles:
    """The content of the files: symbols in the order of their ids, names of the special ones, and our keys (`own`)."""

    symbols: tuple[str, ...]
    pad: str
    unknown: str | None
    begin: str | None
    end: str | None
    word_delimiter: str | None
    phones: bool
    own: Mapping[str, Any] = field(default_factory=dict)


def write_tokenizer(files: TokenizerFiles, directory: Path) -> None:
    """Write the files but `added_tokens.json`, all or none. Raises UserError if the directory cannot be written."""
    names = {"bos_token": files.begin, "eos_token": files.end, "unk_token": files.unknown, "pad_token": files.pad}
    config: dict[str, Any] = {
        "tokenizer_class": PHONE_CLASS if files.phones else CHARACTER_CLASS,
        **names,
        "do_lower_case": False,
        # For the character tokenizer, an empty string, not null, means "no delimiter".
        "word_delimiter_token": None if files.phones else files.word_delimiter or "",
        **files.own,
    }
    if files.phones:
        config |= {"do_phonemize": False, "phone_delimiter_token": " "}
    else:
        config["replace_word_delimiter_char"] = " "
    contents = {
        "vocab.json": {symbol: index for index, symbol in enumerate(files.symbols)},
        "tokenizer_config.json": config,
        "special_tokens_map.json": {name: symbol for name, symbol in names.items() if symbol is not None},
    }
    with writing_together(directory) as folder:
        for name, content in contents.items():
            text = json.dumps(content, ensure_ascii=False, indent=2)
            (folder / name).write_text(text + "\n", encoding="utf-8")


def read_tokenizer(directory: Path, language: str | None = None) -> TokenizerFiles:
    """Read the files of a model directory, ours or transformers'.

    `language` chooses one of the tables of a multilingual `vocab.json`, as in facebook/mms-1b-all. Raises UserError for
    a missing or broken file, an unknown language, or ids that are not 0 to N-1.
    """
    config = {**_DEFAULTS, **_names(_optional(directory / "special_tokens_map.json"))}
    read = _optional(directory / "tokenizer_config.json")
    config |= {**read, **_names({name: read[name] for name in _DEFAULTS if name in read})}
    table = read_json(
        directory / "vocab.json", missing="a model with a CTC head needs it, so fine-tune the model first"
    )
    if any(isinstance(value, dict) for value in table.values()):
        chosen = language or config.get("target_lang")
        if not isinstance(chosen, str) or not isinstance(table.get(chosen), dict):
            known = ", ".join(sorted(table)[:8])
            raise UserError(f"{directory / 'vocab.json'}: no language {chosen!r}; it has {len(table)}, such as {known}")
        table = table[chosen]
    table = {**_optional(directory / "added_tokens.json"), **table}
    phones = config.get("tokenizer_class") == PHONE_CLASS
    delimiter = None if phones else config.get("word_delimiter_token", "|")
    return TokenizerFiles(
        symbols=_ordered(table, directory / "vocab.json"),
        pad=_pad(config, table, directory),
        unknown=_present(config["unk_token"], table),
        begin=_present(config["bos_token"], table),
        end=_present(config["eos_token"], table),
        word_delimiter=_present(delimiter, table),
        phones=phones,
        own={name: value for name, value in config.items() if name.startswith("wav2vec2_")},
    )


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _names(values: Mapping[str, Any]) -> dict[str, str | None]:
    """Return special tokens by role; they are stored as a string or as an object with a `content`."""
    return {name: value.get("content") if isinstance(value, dict) else value for name, value in values.items()}


def _ordered(table: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    by_id = {index: symbol for symbol, index in table.items() if type(index) is int}
    if by_id.keys() != set(range(len(table))):
        raise UserError(f"{path}: its ids are not 0 to {len(table) - 1}, each once; copy the file again from its model")
    return tuple(by_id[index] for index in range(len(table)))


def _pad(config: Mapping[str, Any], table: Mapping[str, Any], directory: Path) -> str:
    pad = _present(config["pad_token"], table)
    if pad is None:
        name = repr(config["pad_token"])
        raise UserError(f"{directory / 'vocab.json'}: lacks {name}, the CTC blank; copy the file again from its model")
    return pad


def _present(name: Any, table: Mapping[str, Any]) -> str | None:
    return name if isinstance(name, str) and name in table else None
