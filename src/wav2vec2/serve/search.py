"""The search that a server's processes use: the options of the command, as plain values, and a request's own words."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from wav2vec2.decode.beside_model import build_model_searches
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.decode.search import Search
from wav2vec2.inference.windows import PieceSettings
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.text.vocabulary import Vocabulary

_PATHS = ("lm", "lexicon", "rescore")


def plain_options(options: DecodingOptions) -> dict[str, Any]:
    """Return the options as values of JSON; paths become absolute, as processes may have another folder."""
    plain = {name: value for name, value in asdict(options).items() if value is not None}
    for name in _PATHS:
        if name in plain and str(plain[name]) != "none":
            plain[name] = str(Path(plain[name]).absolute())
        elif name in plain:
            plain[name] = str(plain[name])
    return plain


def open_search(
    plain: dict[str, Any],
    vocabulary: Vocabulary,
    folder: Callable[[], Path | None],
    *,
    hotwords: dict[str, float] | None = None,
    open_lm: Callable[[str], LanguageModel] | None = None,
) -> Search:
    """Return the search of `plain_options`, in this process alone.

    hotwords: words of one request, beside those of the options; they choose our own search where decoding is greedy.
    Raises UserError as `build_searches` does.
    """
    values: dict[str, Any] = {name: Path(value) if name in _PATHS else value for name, value in plain.items()}
    options = DecodingOptions(**{**values, "workers": 0})
    if hotwords:
        options = replace(options, hotwords={**options.hotwords, **hotwords})
    return build_model_searches(options, vocabulary, folder, notice=_quiet, open_lm=open_lm)[-1]


def tuned_pieces(plain: dict[str, Any]) -> PieceSettings:
    """Return how the preset among `plain_options` cuts recordings. Raises UserError if it cannot be read."""
    return PieceSettings.of(DecodingOptions(preset=plain.get("preset")).resolve())


def _quiet(_: str) -> None:
    """The command has said it once."""
