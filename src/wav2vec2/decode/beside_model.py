"""The language model that lies beside a model, as pyctcdecode keeps it and transformers' pipeline uses it.

Its folder ``language_model`` holds an n-gram model (ARPA file or KenLM binary), ``attrs.json`` with the weights of the
search, and ``unigrams.txt``, a copy of the model's words. ``alphabet.json``, beside the folder, names the model's
classes: "" is the blank, " " (in alphabets of pieces "\u2581") the word separator, "\u2047" the unknown symbol.

It is used where nothing else is asked for, and announced in one line. Where it cannot be used, the line says why.
"""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from wav2vec2.config import read_json
from wav2vec2.decode.build import NO_LM, DecodingOptions, Notice, OpenLM, build_searches, print_notice
from wav2vec2.decode.search import Search
from wav2vec2.errors import UserError
from wav2vec2.text.vocabulary import SENTENCEPIECE_SPACE, UNKNOWN_MARK, Vocabulary

FOLDER, ALPHABET = "language_model", "alphabet.json"
PRESET = "preset.toml"
_SUFFIXES = (".arpa", ".bin", ".binary")
_BEAM = 100  # pyctcdecode's
_REMEDY = "copy it again from its model"


def build_model_searches(
    options: DecodingOptions,
    vocabulary: Vocabulary,
    folder: Callable[[], Path | None],
    *,
    notice: Notice = print_notice,
    open_lm: OpenLM | None = None,
) -> list[Search]:
    """Like `build_searches`, with the language model in `folder` unless `options` choose otherwise.

    `folder` is called only if it may be used; None: the model has none. `notice` takes the line that announces it, or
    the reason why it is not used.

    Raises UserError as `build_searches` does.
    """
    plain = partial(build_searches, options, vocabulary, notice=notice, open_lm=open_lm)
    if not _left_open(options):
        return plain()
    try:
        found = folder()
        own = None if found is None else with_model_lm(options, found, vocabulary)
        searches = [] if own is None else build_searches(own, vocabulary, notice=notice, open_lm=open_lm)
    except UserError as error:
        notice(f"the language model beside the model is not used: {error}")
        return plain()
    if own is None:
        return plain()
    notice(f"{own.lm}: used, because it lies beside the model; --lm {NO_LM} turns it off")
    return searches


def with_preset_beside(options: DecodingOptions, model: object, *, notice: Notice = print_notice) -> DecodingOptions:
    """Return `options` with the preset that lies in the folder named as the model, unless they choose otherwise.

    `wav2vec2 adapt` writes such a folder: a model, what is needed to search with its language model, and the preset.
    """
    if not isinstance(model, str | Path) or not _left_open(options):
        return options
    preset = Path(model) / PRESET
    if not preset.is_file():
        return options
    notice(f"{preset}: used, because it lies beside the model; --lm {NO_LM} turns it off")
    return replace(options, preset=str(preset))


def _left_open(options: DecodingOptions) -> bool:
    """Whether the options leave room for a language model: they name neither one nor a preset, lexicon or decoder."""
    given = (options.lm, options.preset, options.lexicon)
    return all(value is None for value in given) and options.decoder in ("auto", "beam")


def with_model_lm(options: DecodingOptions, folder: Path, vocabulary: Vocabulary) -> DecodingOptions:
    """Return `options` with the language model in `folder`, and with its weights where they give none.

    pyctcdecode adds the offset of an unknown word to decimal logarithms, before its weight; it adds the probabilities
    of the paths of a hypothesis.

    Raises UserError if a file is missing or damaged, or the alphabet is not the vocabulary.
    """
    check_alphabet(folder.parent / ALPHABET, vocabulary)
    weights = _weights(folder / "attrs.json")
    chosen: dict[str, Any] = {
        "lm_weight": weights["alpha"],
        "word_score": weights["beta"],
        "unknown_score": weights["alpha"] * weights["unk_score_offset"] * math.log(10),
        "beam": _BEAM,
        "merge": "logadd",
    }
    missing = {name: value for name, value in chosen.items() if getattr(options, name) is None}
    return replace(options, decoder="beam", lm=_ngram_file(folder), **missing)


def _ngram_file(folder: Path) -> Path:
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); {_REMEDY}") from error
    if len(files) != 1:
        count = f"{len(files)} files" if files else "no file"
        raise UserError(f"{folder}: has {count} ending in {', '.join(_SUFFIXES)}; name the language model with --lm")
    return files[0]


def _weights(path: Path) -> dict[str, float]:
    attributes = read_json(path)
    weights = {"alpha": 0.5, "beta": 1.5, "unk_score_offset": -10.0}  # pyctcdecode's own
    for name in weights:
        value = attributes.get(name, weights[name])
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"{path}: {name} is {repr(value)[:80]}, not a number; {_REMEDY}")
        weights[name] = float(value)
    return weights


def check_alphabet(path: Path, vocabulary: Vocabulary) -> None:
    """Raise UserError unless an alphabet has the symbols of a vocabulary in the same places, or is not there."""
    if not path.exists():
        return
    labels = read_json(path).get("labels")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise UserError(f"{path}: its labels are not a list of strings; {_REMEDY}")
    if len(labels) < len(vocabulary):
        raise UserError(f"{path}: has {len(labels)} labels, the model {len(vocabulary)} symbols; {_REMEDY}")
    for place, (symbol, label) in enumerate(zip(vocabulary.symbols, labels, strict=False)):
        if label not in {symbol, *_other_names(place, symbol, vocabulary)}:
            pair = f"{json.dumps(label, ensure_ascii=False)[:80]} where the model has {symbol[:80]!r}"
            raise UserError(f"{path}: has {pair}; give the language model of this model")


def _other_names(place: int, symbol: str, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return pyctcdecode's names of the classes that are no letters."""
    if place == vocabulary.blank:
        return ("",)
    if place == vocabulary.unknown:
        return (UNKNOWN_MARK, f"{SENTENCEPIECE_SPACE}{UNKNOWN_MARK}{SENTENCEPIECE_SPACE}")
    return (" ", SENTENCEPIECE_SPACE) if symbol == vocabulary.word_separator else ()
