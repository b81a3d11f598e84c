"""The files of a Hugging Face CTC tokenizer as plain values.

They are `vocab.json`, `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`, which is only read.
Where they do not name the blank, `pad_token_id` of the model's `config.json` does.
transformers' Wav2Vec2CTCTokenizer splits text into characters, its Wav2Vec2PhonemeCTCTokenizer at spaces: the class
name gives the unit of a vocabulary. transformers 5 treats the word delimiter as a special token, and a literal `|` in
text as a word delimiter.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wav2vec2.config import read_json
from wav2vec2.errors import UserError, quoted
from wav2vec2.output_file import writing_together

TOKENIZER_FILES = ("vocab.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
CHARACTER_CLASS, PHONE_CLASS = "Wav2Vec2CTCTokenizer", "Wav2Vec2PhonemeCTCTokenizer"
UNKNOWN_NAMES = ("<unk>", "[UNK]")
_ID = re.compile(r"[0-9]{1,9}")
_SPECIAL = re.compile(r"<.+>|\[.+\]")
_DELIMITER = "word_delimiter_token"
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


def write_tokenizer(files: TokenizerFiles, directory: Path, language: str | None = None) -> None:
    """Write the files but `added_tokens.json`, all or none. Raises UserError if the directory cannot be written.

    With a `language`, `vocab.json` has a table of that name and `tokenizer_config.json` names it, as in a multilingual
    model.
    """
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
    table = {symbol: index for index, symbol in enumerate(files.symbols)}
    if language is not None:
        config["target_lang"] = language
    contents = {
        "vocab.json": table if language is None else {language: table},
        "tokenizer_config.json": config,
        "special_tokens_map.json": {name: symbol for name, symbol in names.items() if symbol is not None},
    }
    with writing_together(directory) as folder:
        for name, content in contents.items():
            text = json.dumps(content, ensure_ascii=False, indent=2)
            (folder / name).write_text(text + "\n", encoding="utf-8")


def read_tokenizer(directory: Path, language: str | None = None, size: int | None = None) -> TokenizerFiles:
    """Read the files of a model directory, ours or transformers'.

    `language` chooses one of the tables of a multilingual `vocab.json`, as in facebook/mms-1b-all. `size` is the number
    of rows of the CTC head, by default as in `config.json`: tokens beyond it, which transformers adds to a tokenizer
    but no model writes, are left out. Raises UserError for a missing or broken file, an unknown language, or ids that
    are not 0 to N-1.
    """
    model = _optional(directory / "config.json")
    given = _names(_optional(directory / "special_tokens_map.json"))
    read = _optional(directory / "tokenizer_config.json")
    given |= {**read, **_names({name: read[name] for name in (*_DEFAULTS, _DELIMITER) if name in read})}
    config = {**_DEFAULTS, **given}
    table = read_json(
        directory / "vocab.json", missing="a model with a CTC head needs it, so fine-tune the model first"
    )
    if any(isinstance(value, dict) for value in table.values()):
        chosen = language or config.get("target_lang")
        if not isinstance(chosen, str) or not isinstance(table.get(chosen), dict):
            known = ", ".join(sorted(table)[:8])
            raise UserError(
                f"{directory / 'vocab.json'}: no language {quoted(chosen)}; it has {len(table)}, such as {known}"
            )
        table = table[chosen]
    elif size is None and type(model.get("vocab_size")) is int:
        size = model["vocab_size"]
    symbols = _ordered(table, {**_added(read), **_optional(directory / "added_tokens.json")}, config, size, directory)
    phones = config.get("tokenizer_class") == PHONE_CLASS
    if config.get("do_lower_case") and not phones:
        symbols = _lower(symbols)
    delimiter = None if phones else config.get(_DELIMITER, "|")
    return TokenizerFiles(
        symbols=symbols,
        pad=_pad(given, symbols, model, directory),
        unknown=_present(given.get("unk_token", next((n for n in UNKNOWN_NAMES if n in symbols), None)), symbols),
        begin=_present(config["bos_token"], symbols),
        end=_present(config["eos_token"], symbols),
        word_delimiter=_present(delimiter, symbols),
        phones=phones,
        own={name: value for name, value in config.items() if name.startswith("wav2vec2_")},
    )


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _names(values: Mapping[str, Any]) -> dict[str, str | None]:
    """Return special tokens by role; they are stored as a string or as an object with a `content`."""
    return {name: value.get("content") if isinstance(value, dict) else value for name, value in values.items()}


def _added(config: Mapping[str, Any]) -> dict[str, int]:
    """Return the added tokens that `tokenizer_config.json` lists by id."""
    listed = config.get("added_tokens_decoder")
    if not isinstance(listed, dict):
        return {}
    entries = {index: entry.get("content") for index, entry in listed.items() if isinstance(entry, dict)}
    return {name: int(index) for index, name in entries.items() if isinstance(name, str) and _ID.fullmatch(index)}


def _ordered(
    table: Mapping[str, Any], added: Mapping[str, Any], config: Mapping[str, Any], size: int | None, directory: Path
) -> tuple[str, ...]:
    """Return the symbols in the order of their ids, as transformers finds them.

    Of two symbols with one id the later counts; such a pair leaves a hole further on, which no model writes either.
    Special tokens that no file numbers follow the others.
    """
    path = directory / "vocab.json"
    if not all(type(index) is int for index in table.values()):
        raise UserError(f"{path}: its ids are not whole numbers; copy the file again from its model")
    rest = {index: symbol for symbol, index in added.items() if symbol not in table and type(index) is int}
    by_id = {**rest, **{index: symbol for symbol, index in table.items()}}
    largest = min(max(by_id, default=0), len(table) + len(by_id))  # an id beyond it is refused below
    for index in sorted(set(range(largest)) - by_id.keys())[: len(table) - len(set(table.values()))]:
        by_id[index] = f"<{index}>"
    for role in ("bos_token", "eos_token", "unk_token", "pad_token"):
        if size is not None and len(by_id) < size and isinstance(config[role], str) and config[role] not in table:
            by_id.setdefault(len(by_id), config[role])
    count = len(by_id)
    if by_id.keys() != set(range(count)):
        raise UserError(f"{path}: its ids are not 0 to {count - 1}, each once; copy the file again from its model")
    if size is not None and all(_SPECIAL.fullmatch(by_id[index]) for index in range(size, count)):
        count = min(size, count)
    return tuple(by_id[index] for index in range(count))


def _lower(symbols: tuple[str, ...]) -> tuple[str, ...]:
    """Return the symbols as transformers writes them if asked for small letters, unless two of them become one."""
    lower = tuple(symbol if _SPECIAL.fullmatch(symbol) else symbol.lower() for symbol in symbols)
    return lower if len(set(lower)) == len(symbols) else symbols


def _pad(given: Mapping[str, Any], symbols: Sequence[str], model: Mapping[str, Any], directory: Path) -> str:
    """Return the CTC blank: what the tokenizer names, `<pad>`, or what the model's own configuration numbers."""
    name = given.get("pad_token", _DEFAULTS["pad_token"])
    if name in symbols:
        return str(name)
    index = model.get("pad_token_id")
    if (
        type(index) is int
        and 0 <= index < len(symbols)
        and ("pad_token" not in given or _SPECIAL.fullmatch(symbols[index]))
    ):
        return symbols[index]
    raise UserError(
        f"{directory / 'vocab.json'}: lacks {quoted(name)}, the CTC blank; copy the file again from its model"
    )


def _present(name: Any, symbols: Sequence[str]) -> str | None:
    return name if isinstance(name, str) and name in symbols else None
