"""The fields of an upload, read and checked."""

import math
from dataclasses import dataclass

from wav2vec2.serve.failures import wrong
from wav2vec2.serve.server import Server
from wav2vec2.serve.shapes import FORMATS
from wav2vec2.serve.uploads import Upload

_MOST_HOTWORDS, _HOTWORD_WEIGHT = 1000, 5.0
_INCLUDED = ("logprobs", "peaks", "greedy")
_LATEST = 1e7
_CHECKS = {"true": True, "1": True, "false": False, "0": False, "": False}


@dataclass(frozen=True)
class Asked:
    """What a client asks for."""

    style: str
    granularities: tuple[str, ...]
    stream: bool
    logprobs: bool
    peaks: bool
    greedy: bool
    hotwords: dict[str, float]


def check_model(server: Server, upload: Upload) -> None:
    """Raise ApiError (404) if the form names a model that is not served."""
    server.checked_model(upload.value("model", server.options.model_names[0]))


def asked_for(server: Server, upload: Upload) -> Asked:
    """Return what a form asks for. Raises ApiError that names the field which is wrong."""
    check_model(server, upload)
    style = upload.value("response_format", "json")
    if style not in FORMATS:
        raise wrong(f"response_format: {style[:40]!r} is not one of {', '.join(FORMATS)}", "response_format")
    granularities = tuple(upload.values("timestamp_granularities"))
    for value in granularities:
        if value not in ("word", "segment"):
            raise wrong(f"timestamp_granularities: {value[:40]!r} is not word or segment", "timestamp_granularities")
    if granularities and style != "verbose_json":
        raise wrong("timestamp_granularities: need response_format=verbose_json", "timestamp_granularities")
    include = upload.values("include")
    for value in include:
        if value not in _INCLUDED:
            raise wrong(f"include: {value[:40]!r} is not one of {', '.join(_INCLUDED)}", "include")
    temperature = upload.value("temperature", "0")
    try:
        float(temperature)
    except ValueError:
        raise wrong(f"temperature: {temperature[:40]!r} is no number", "temperature") from None
    logprobs, peaks, greedy = (name in include for name in _INCLUDED)
    return Asked(style, granularities, _flag(upload, "stream"), logprobs, peaks, greedy, _hotwords(upload))


def _flag(upload: Upload, name: str) -> bool:
    value = upload.value(name).lower()
    if value not in _CHECKS:
        raise wrong(f"{name}: {value[:40]!r} is not true or false", name)
    return _CHECKS[value]


def seconds_field(upload: Upload, name: str) -> float | None:
    """Return a field that holds seconds, None without it. Raises ApiError for anything else."""
    given = upload.value(name)
    try:
        found = float(given) if given else None
    except ValueError:
        found = math.nan
    if found is not None and not 0 <= found < _LATEST:
        raise wrong(f"{name}: {given[:40]!r} is no number of seconds", name)
    return found


def _hotwords(upload: Upload) -> dict[str, float]:
    """Return the words to favour, with their weights: `hotwords` of ours, and `keywords` of OpenAI."""
    found: dict[str, float] = {}
    for given in (*upload.values("hotwords"), *upload.values("keywords")):
        word, separator, weight = given.rpartition(":")
        try:
            value = float(weight) if separator else math.nan
        except ValueError:
            value = math.nan
        if math.isnan(value):  # the colon, if there is one, belongs to the word
            word, value = given, _HOTWORD_WEIGHT
        if not word.strip() or not -100 <= value <= 100:
            raise wrong(f"hotwords: {given[:40]!r} is no word, or its weight is not from -100 to 100", "hotwords")
        found[word.strip()] = value
    if len(found) > _MOST_HOTWORDS:
        raise wrong(f"hotwords: more than {_MOST_HOTWORDS}", "hotwords")
    return found
