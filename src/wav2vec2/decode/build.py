"""Builds the decoders that a user chooses by options or a preset, with everything loaded."""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec

from wav2vec2.decode.lexicon.decoder import LexiconDecoder
from wav2vec2.decode.lexicon.search import has_flashlight
from wav2vec2.decode.presets import DecoderName, Preset, load_preset
from wav2vec2.decode.rescore import Rescorer
from wav2vec2.decode.search import GREEDY, Decoder, Search, SearchOptions
from wav2vec2.decode.words import Lexicon, LmCase, build_lexicon, parse_hotwords, read_lexicon, token_finder
from wav2vec2.errors import UserError, quoted
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.lm.load import InterpolatedLM, load_language_model
from wav2vec2.lm.words import is_kenlm_binary, ngram_order, ngram_words
from wav2vec2.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    import torch

NO_LM = "none"
"""As a path of a language model: none."""
RESCORED = 100
"""Hypotheses of a search that a second language model rescores, unless the user asked for more."""
_SEARCH = {option.name for option in dataclasses.fields(SearchOptions)}
_HOTWORDS = PrimitiveConstructorSpec(
    nargs="*",
    metavar="WORD[:WEIGHT]|FILE",
    instance_from_str=parse_hotwords,
    is_instance=lambda value: isinstance(value, Mapping),
    str_from_instance=lambda hotwords: [f"{word}:{weight:g}" for word, weight in hotwords.items()],
)


def _shown(metavar: str, default: str) -> object:
    """Show in --help, for an option that the preset may set, the default that applies without a preset."""
    return arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


@dataclass(frozen=True)
class DecodingOptions:
    """How the model's output becomes text. A preset sets the options not given; the defaults are those without one."""

    decoder: Literal["auto", "greedy", "beam", "lexicon"] = "auto"
    """greedy: the best symbol of every frame, without a search. beam: our own search. lexicon: flashlight's search over
    the words of a lexicon, as in the paper; several times slower. auto: the preset's; without a preset, lexicon for a
    --lexicon or a KenLM binary, beam for any other --lm and for --hotwords, else greedy."""
    lm: Annotated[Path | None, _shown("PATH", "none")] = None
    """Language model: an ARPA file, a KenLM binary, or the folder of a Transformer language model. Without this option,
    a language model that lies beside the model (a folder language_model, as of pyctcdecode) is used; none: none."""
    preset: Annotated[str | None, _shown("NAME|FILE", "none")] = None
    """A file from `wav2vec2 tune`, or settings of the paper: paper-ls-10min-4gram to paper-lv-960h-transformer."""
    hotwords: Annotated[Mapping[str, float], _HOTWORDS, _shown("WORD[:WEIGHT]|FILE ...", "none")] = field(
        default_factory=dict
    )
    """Words and phrases to favour, each with the weight (nats) that every occurrence of a word adds, by default 5:
    --hotwords anna:8 "saint malo:6", or a text file with one per line. Only the beam decoder takes them."""
    nbest: Annotated[int | None, _shown("N", "1")] = None
    """Number of hypotheses; all but the best are in the JSON output only."""
    beam: Annotated[int | None, _shown("N", "50")] = None
    """Hypotheses kept after each frame. A larger beam is slower, and finds better hypotheses."""
    lm_weight: Annotated[float | None, _shown("X", "0.87")] = None
    """Weight of the language model's natural logarithms. Weights that other tools give for decimal logarithms (fairseq
    and the paper for their 4-grams) must be divided by 2.303."""
    word_score: Annotated[float | None, _shown("X", "-1")] = None
    """Added for every word."""
    lexicon: Annotated[Path | None, _shown("FILE", "the words of --lm, spelled by the model's vocabulary")] = None
    """File of the only words that may be written, one per line, with or without a spelling (word, tab, symbols)."""
    lm_case: Annotated[LmCase | None, _shown("{keep,fold}", "keep")] = None
    """fold: use a language model or lexicon in another case than the model's vocabulary."""
    unknown_score: Annotated[float | None, _shown("X", "-inf")] = None
    """Added for every word that the language model (in the lexicon search: the lexicon) lacks; -inf forbids them."""
    silence_score: Annotated[float | None, _shown("X", "0")] = None
    """Added for every word separator (in the lexicon search: for every frame of one)."""
    beam_tokens: Annotated[int | None, _shown("N", "0")] = None
    """Number of symbols, the most probable ones of a frame, that may extend a hypothesis; 0 means all."""
    threshold: Annotated[float | None, _shown("X", "50")] = None
    """Hypotheses more than this many nats below the best one are dropped."""
    merge: Annotated[Literal["max", "logadd"] | None, _shown("{max,logadd}", "max")] = None
    """How the paths of one hypothesis are combined: max keeps the best, logadd adds their probabilities."""
    rescore: Annotated[Path | None, _shown("FOLDER", "none")] = None
    """A Transformer language model that rescores the n-best list."""
    rescore_weight: Annotated[float | None, _shown("X", "0.5")] = None
    """Weight of the rescoring model's natural logarithms, in place of --lm-weight."""
    rescore_word_score: Annotated[float | None, _shown("X", "0")] = None
    """Added for every word in rescoring."""
    rescore_share: Annotated[float | None, _shown("X", "1")] = None
    """Share of the rescoring model in a linear mixture with --lm, from 0 to 1; 1 means the rescoring model alone."""
    workers: Annotated[int | None, _shown("N", "one per core")] = None
    """Number of processes (lexicon) or threads (beam) of the search. It does not change the results."""

    def resolve(self) -> Preset:
        """Return the preset with the given options in place of its own. Raises UserError for an impossible choice."""
        preset = Preset(decoder="greedy") if self.preset is None else load_preset(self.preset, check_lm=self.lm is None)
        search = {name: getattr(self, name) for name in _SEARCH if getattr(self, name) is not None}
        changes: dict[str, object] = {}
        if self.decoder != "auto":
            changes["decoder"] = self.decoder
        elif self.preset is None:
            changes["decoder"] = self._fitting_decoder()
        for name in ("lm", "lexicon", "rescore"):
            if getattr(self, name) is not None:
                changes[name] = str(getattr(self, name))
        if self._without_lm:
            changes["lm"] = None
        for name in ("lm_case", "rescore_weight", "rescore_word_score", "rescore_share"):
            if getattr(self, name) is not None:
                changes[name] = getattr(self, name)
        chosen = replace(preset, search=replace(preset.search, **search), **changes)  # type: ignore[arg-type]
        self._check(chosen)
        return chosen

    @property
    def _without_lm(self) -> bool:
        return self.lm is not None and str(self.lm) == NO_LM

    def _fitting_decoder(self) -> DecoderName:
        """Return the decoder that suits the options: our own where flashlight's is not better, or not there."""
        if self.hotwords:
            return "beam"
        if self.lexicon is None and (self.lm is None or self._without_lm):
            return "greedy"
        words = self.lexicon or (self.lm and not self.lm.is_dir() and is_kenlm_binary(self.lm))
        return "lexicon" if words and has_flashlight() else "beam"

    def _check(self, chosen: Preset) -> None:
        if self.workers is not None and self.workers < 0:
            raise UserError(f"--workers {self.workers}: must be at least 0")
        if chosen.rescore is not None and not 0.0 < chosen.rescore_share <= 1.0:
            raise UserError(f"--rescore-share {chosen.rescore_share:g}: must be above 0 and at most 1")
        if chosen.rescore is not None and chosen.rescore_share < 1.0 and chosen.lm is None:
            raise UserError("--rescore-share: there is no model to mix with; give --lm as well")
        if self.hotwords and chosen.decoder != "beam":
            source = f"preset {self.preset} chooses" if self.decoder == "auto" else "they cannot be used with"
            raise UserError(f"--hotwords: {source} {chosen.decoder} decoding; add --decoder beam")
        if chosen.decoder == "greedy":
            for name in ("lm", "lexicon", "rescore"):
                if getattr(chosen, name) is not None:
                    raise UserError(f"--{name}: greedy decoding cannot use one; choose --decoder beam or lexicon")
            if chosen.search.nbest > 1:
                raise UserError("--nbest: greedy decoding gives one hypothesis; choose --decoder beam or lexicon")
        elif chosen.decoder == "lexicon" and chosen.lm is None and chosen.lexicon is None:
            source = f", and preset {self.preset} names none" if self.preset else ""
            raise UserError(f"the lexicon search needs words{source}; give --lm, --lexicon, or both")


Notice = Callable[[str], None]
OpenLM = Callable[[str], LanguageModel]
"""Opens the language model at a path. Searches that run one after the other may share a model (``open_each_once``):
each begins at the model's start, and forgets its histories at the end."""


def print_notice(line: str) -> None:
    """Print a line that a user should see to stderr."""
    print(line, file=sys.stderr)


def open_each_once(device: "torch.device | None" = None) -> OpenLM:
    """Return a ``load_language_model`` that reads each path once and keeps the models for as long as it lives.

    device: where Transformers compute; the CPU if not given.
    """
    return cache(partial(load_language_model, device=device))


def build_searches(
    options: DecodingOptions,
    vocabulary: Vocabulary,
    *,
    notice: Notice = print_notice,
    open_lm: OpenLM | None = None,
) -> list[Search]:
    """Load the search that `options` name and, if they name a rescoring model, a second one with rescoring.

    Both have the same decoder; the last search is the one that the user chose. Close all of them. notice takes lines
    that a user should see (words that cannot be spelled). open_lm opens language models; by default it opens each once.

    Raises UserError for an impossible choice, for files that are missing or broken, and for language models and
    hotwords that do not fit the vocabulary.
    """
    chosen = options.resolve()
    if chosen.decoder == "greedy":
        return [GREEDY]
    nbest, open_lm = chosen.search.nbest, open_lm or open_each_once()
    rescorer, search = None, chosen.search
    if chosen.rescore is not None:
        model = rescoring_model(chosen, open_lm)
        rescorer = Rescorer(
            model, chosen.rescore_weight, chosen.rescore_word_score, chosen.lm_case, source=chosen.rescore
        )
        token_finder(model, vocabulary, chosen.lm_case, chosen.rescore)  # so that a wrong case is refused at once
        search = replace(search, nbest=max(nbest, RESCORED))
    decoder = build_decoder(
        chosen, vocabulary, workers=options.workers, hotwords=options.hotwords, notice=notice, open_lm=open_lm
    )
    first = Search(title(chosen) + (", hotwords" if options.hotwords else ""), decoder, search, None, nbest)
    if rescorer is None:
        return [first]
    name = "Transformer, rescored" if chosen.rescore_share == 1.0 else "mixture, rescored"
    return [first, replace(first, title=name, rescorer=rescorer)]


def rescoring_model(chosen: Preset, open_lm: OpenLM = load_language_model) -> LanguageModel:
    """Return the model that rescores the n-best list: `rescore` alone, or mixed with `lm` by its share.

    Raises UserError for models that cannot be read, or cannot be mixed.
    """
    assert chosen.rescore is not None
    model = open_lm(chosen.rescore)
    if chosen.rescore_share == 1.0 or chosen.lm is None:
        return model
    return InterpolatedLM(open_lm(chosen.lm), model, chosen.rescore_share)


def title(chosen: Preset) -> str:
    """Return the title of a search in a table: the kind of its language model, as in the paper."""
    if chosen.lm is None:
        return "no LM" if chosen.decoder == "greedy" else f"{chosen.decoder}, no LM"
    if Path(chosen.lm).is_dir():
        return "Transformer"
    order = ngram_order(chosen.lm)
    return "n-gram" if order is None else f"{order}-gram"


def build_decoder(
    chosen: Preset,
    vocabulary: Vocabulary,
    *,
    workers: int | None = None,
    hotwords: Mapping[str, float] | None = None,
    notice: Notice = print_notice,
    open_lm: OpenLM = load_language_model,
) -> Decoder:
    """Load the decoder that `chosen` names. Raises UserError as `build_searches` does, and for greedy decoding."""
    if chosen.decoder == "greedy":
        raise UserError("greedy decoding needs no search; choose --decoder beam or lexicon")
    if chosen.decoder == "lexicon":
        return _lexicon_decoder(chosen, vocabulary, workers, notice, open_lm)
    from wav2vec2.decode.prefix.decoder import PrefixDecoder  # numba takes a second to import

    return PrefixDecoder(
        vocabulary,
        None if chosen.lm is None else open_lm(chosen.lm),
        lm_case=chosen.lm_case,
        lm_name=chosen.lm or "language model",
        words=None if chosen.lexicon is None else _word_list(chosen.lexicon, vocabulary, chosen.lm_case, notice),
        hotwords=hotwords,
        threads=1 if workers == 0 else workers,
    )


def _word_list(path: str, vocabulary: Vocabulary, lm_case: LmCase, notice: Notice) -> list[str]:
    """Read the words of a lexicon for the prefix search, which spells them with the vocabulary."""
    lexicon = read_lexicon(path, vocabulary, lm_case)
    for word, spelling in zip(lexicon.words, lexicon.spellings, strict=True):
        if tuple(vocabulary.encode(word)) != spelling:
            raise UserError(
                f"{path}: spells {quoted(word)} in symbols other than its letters; choose --decoder lexicon"
            )
    if (line := lexicon.left_out()) is not None:
        notice(f"{path}: {line}")
    return list(dict.fromkeys(lexicon.words))


def _lexicon_decoder(
    chosen: Preset, vocabulary: Vocabulary, workers: int | None, notice: Notice, open_lm: OpenLM
) -> LexiconDecoder:
    lexicon = make_lexicon(chosen, vocabulary, open_lm)
    if (line := lexicon.left_out()) is not None:
        notice(f"{chosen.lexicon or chosen.lm}: {line}")
    lm: str | LanguageModel | None = chosen.lm
    if chosen.lm is not None and workers == 0 and Path(chosen.lm).is_dir():
        lm = open_lm(chosen.lm)  # worker processes open it themselves
    return LexiconDecoder(vocabulary, lexicon, lm, workers=workers)


def make_lexicon(chosen: Preset, vocabulary: Vocabulary, open_lm: OpenLM = load_language_model) -> Lexicon:
    """Return the lexicon that `chosen` names, matched to its language model, or else a lexicon of the model's words."""
    known = None if chosen.lm is None else _lm_words(chosen.lm, open_lm)
    if chosen.lexicon is not None:
        lexicon = read_lexicon(chosen.lexicon, vocabulary, chosen.lm_case)
        return lexicon if known is None else lexicon.with_lm_words(known, vocabulary, chosen.lm_case, lm=str(chosen.lm))
    return build_lexicon(known or (), vocabulary, chosen.lm_case, source=str(chosen.lm))


def _lm_words(lm: str, open_lm: OpenLM) -> list[str]:
    if not Path(lm).is_dir():
        return ngram_words(lm)
    model = open_lm(lm)
    if model.unit == "characters":
        raise UserError(f"{lm}: is a model of characters, not of words; choose --decoder beam")
    return list(model.tokens)
