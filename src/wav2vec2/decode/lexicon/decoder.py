"""Lexicon beam search with an n-gram or any other language model, on all cores (section 4.4 of the paper)."""

from collections.abc import Sequence
from pathlib import Path

from wav2vec2.decode.context import Context, contexts_of
from wav2vec2.decode.hypothesis import Emissions, Hypothesis, check_emissions
from wav2vec2.decode.lexicon.search import LexiconSearch, require_flashlight
from wav2vec2.decode.lexicon.workers import WorkerPool
from wav2vec2.decode.search import SearchOptions
from wav2vec2.decode.words import Lexicon
from wav2vec2.device import available_cores
from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.lm.ngram.kenlm_file import try_kenlm
from wav2vec2.text.vocabulary import Vocabulary


class LexiconDecoder:
    """`Decoder` that finds the best sequences of the lexicon's words, with flashlight-text.

    lm: path of an ARPA file, KenLM binary or Transformer language model, a LanguageModel over words, or None. workers:
    number of processes, each of which loads lexicon and language model once; None takes every core that this process
    may use, 0 decodes in this process. The results are the same for any number.

    `lm_weight` multiplies natural logarithms for every language model, KenLM included, whose decimal logarithms are
    converted here. A word of the lexicon that the language model lacks gets the model's score for unknown words;
    `unknown_score` above -inf lets the search write words outside the lexicon. `silence_score` is added for every frame
    of the separator.

    Raises UserError if flashlight-text is missing, for a vocabulary without a word separator, and for a language model
    that cannot be loaded.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        lexicon: Lexicon,
        lm: "str | Path | LanguageModel | None" = None,
        *,
        workers: int | None = None,
    ) -> None:
        require_flashlight()
        if vocabulary.word_separator is None:
            raise UserError("the lexicon search needs a word separator in the vocabulary; choose --decoder beam")
        if workers is not None and workers < 0:
            raise UserError(f"--workers {workers}: must be at least 0")
        self._width = len(vocabulary)
        self._search: LexiconSearch | None = None
        self._pool: WorkerPool | None = None
        loaded = vocabulary, lexicon, str(lm) if isinstance(lm, Path) else lm
        if isinstance(loaded[2], str) and Path(loaded[2]).is_file():
            try_kenlm(loaded[2])
        count = available_cores() if workers is None else workers
        if count == 0:
            self._search = LexiconSearch(*loaded)
        else:
            self._pool = WorkerPool(loaded, count)

    def decode(
        self, emissions: Sequence[Emissions], options: SearchOptions, contexts: Sequence[Context] | None = None
    ) -> list[list[Hypothesis]]:
        """See `Decoder.decode`."""
        arrays = [check_emissions(array, self._width) for array in emissions]
        before = contexts_of(len(arrays), contexts)
        if self._search is not None:
            return [self._search.decode(array, options, own) for array, own in zip(arrays, before, strict=True)]
        if self._pool is None:
            raise UserError("this decoder is closed; make a new one")
        order = sorted(range(len(arrays)), key=lambda index: (-len(arrays[index]), index))
        answers = self._pool.ask([(arrays[index], options, before[index]) for index in order])
        results: list[list[Hypothesis]] = [[] for _ in arrays]
        for index, answer in zip(order, answers, strict=True):
            results[index] = answer
        return results

    def close(self) -> None:
        """See `Decoder.close`."""
        if self._pool is not None:
            self._pool.close()
        self._search = self._pool = None

    def __enter__(self) -> "LexiconDecoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
