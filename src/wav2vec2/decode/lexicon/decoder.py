"""Lexicon beam search with an n-gram or any other language model, on all cores (section 4.4 of the paper)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wav2vec2.decode.emissions import check_emissions
from wav2vec2.decode.hypothesis import Emissions, Hypothesis
from wav2vec2.decode.lexicon.file import Lexicon
from wav2vec2.decode.lexicon.flashlight_lm import require_flashlight
from wav2vec2.decode.lexicon.search import LexiconSearch, SearchSetup
from wav2vec2.decode.lexicon.worker_pool import WorkerPool, available_cores
from wav2vec2.decode.options import SearchOptions
from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.text.vocabulary import Vocabulary


@dataclass
class _Engine:
    """What decoders of one setup share: a search in this process, or workers."""

    search: LexiconSearch | None
    pool: WorkerPool | None
    closed: bool = False


class LexiconDecoder:
    """The best sequences of the lexicon's words, `Decoder` over flashlight-text.

    lm: path of an ARPA file, KenLM binary or Transformer language model, a LanguageModel over words, or None. workers:
    processes, each of which loads lexicon and language model once; None takes every core that this process may use, 0
    decodes in this process.
    Results are the same for any number. Raises UserError where flashlight-text is missing, for a vocabulary without
    word separator, and for a language model that cannot be loaded.

    In the words of `SearchOptions`: `lm_weight` multiplies natural logarithms for every language model, also for
    KenLM, whose decimal ones are converted here. A word of the lexicon that the language model lacks has the model's
    score of unknown words; `unknown_score` above -inf lets the search write words outside the lexicon. `silence_score`
    counts every frame of the separator.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        lexicon: Lexicon,
        lm: "str | Path | LanguageModel | None" = None,
        options: SearchOptions | None = None,
        *,
        workers: int | None = None,
    ) -> None:
        require_flashlight()
        if vocabulary.word_separator is None:
            raise UserError("the lexicon search needs a word separator in the vocabulary; choose --decoder beam")
        if workers is not None and workers < 0:
            raise UserError(f"--workers {workers}: must be at least 0")
        self.options = options or SearchOptions()
        self._width = len(vocabulary)
        setup = SearchSetup(
            symbols=len(vocabulary),
            blank=vocabulary.blank,
            separator=vocabulary.symbols.index(vocabulary.word_separator),
            lexicon=lexicon,
            lm=str(lm) if isinstance(lm, (str, Path)) else lm,
            spelled=all(
                vocabulary.decode(spelling) == word
                for word, spelling in zip(lexicon.words, lexicon.spellings, strict=True)
            ),
        )
        count = available_cores() if workers is None else workers
        if count == 0:
            self._engine = _Engine(LexiconSearch(setup), None)
        else:
            self._engine = _Engine(None, WorkerPool(setup, count))

    def with_options(self, options: SearchOptions) -> "LexiconDecoder":
        """The same search with other options, on the same workers; closing either closes both."""
        other: LexiconDecoder = object.__new__(LexiconDecoder)
        other.options, other._width, other._engine = options, self._width, self._engine
        return other

    def decode(self, emissions: Sequence[Emissions]) -> list[list[Hypothesis]]:
        """See `Decoder.decode`."""
        engine = self._engine
        if engine.closed:
            raise UserError("this decoder is closed; make a new one")
        arrays = [check_emissions(array, self._width) for array in emissions]
        if engine.pool is None:
            assert engine.search is not None
            return [engine.search.decode(array, self.options) for array in arrays]
        order = sorted(range(len(arrays)), key=lambda index: (-len(arrays[index]), index))
        answers = engine.pool.ask([(arrays[index], self.options) for index in order])
        results: list[list[Hypothesis]] = [[] for _ in arrays]
        for index, answer in zip(order, answers, strict=True):
            results[index] = answer
        return results

    def close(self) -> None:
        """See `Decoder.close`."""
        if not self._engine.closed and self._engine.pool is not None:
            self._engine.pool.close()
        self._engine.search, self._engine.closed = None, True

    def __enter__(self) -> "LexiconDecoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
