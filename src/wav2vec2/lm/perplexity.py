"""``wav2vec2 lm perplexity``: the perplexity of a text under a language model of any kind."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from tyro.conf import Positional, arg

from wav2vec2.lm.corpus import Corpus
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.lm.load import load_language_model
from wav2vec2.lm.words import check_case
from wav2vec2.text.normalize import WORD_SEPARATOR, TextNormalization

_BATCH = 256
_SAMPLED = 1000


@dataclass(frozen=True)
class Perplexity:
    """Totals over a text, and the perplexities that follow from them; log-probabilities in nats."""

    sentences: int
    words: int
    tokens: int
    """Words (characters, for a character model), without the sentence ends, which add one per sentence."""
    unknown: int
    """Tokens that the model does not know."""
    log_probability: float
    """Log-probability of all tokens and sentence ends."""
    unknown_log_probability: float
    """Log-probability of the unknown tokens alone."""

    @property
    def with_unknown(self) -> float:
        """Perplexity per token; unknown tokens have the probability that the model gives them."""
        return _exp(-self.log_probability / (self.tokens + self.sentences))

    @property
    def without_unknown(self) -> float:
        """Perplexity per token without the unknown tokens."""
        known = self.tokens + self.sentences - self.unknown
        return _exp(-(self.log_probability - self.unknown_log_probability) / known)

    @property
    def per_word(self) -> float:
        """Perplexity per word, for any kind of token: comparable between models of words and of characters."""
        return _exp(-self.log_probability / (self.words + self.sentences))


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def measure_perplexity(model: LanguageModel, sentences: Iterable[Sequence[str]]) -> Perplexity:
    """Score sentences, given as their words, in batches."""
    characters = model.unit == "characters"
    remaining = iter(sentences)
    sums = np.zeros(6)
    while batch := list(islice(remaining, _BATCH)):
        sums += _score_batch(model, batch, characters=characters)
        model.retain(np.empty(0, np.int64))
    counted = sums[:4].astype(int).tolist()
    return Perplexity(counted[0], counted[1], counted[2], counted[3], float(sums[4]), float(sums[5]))


def _score_batch(model: LanguageModel, batch: Sequence[Sequence[str]], *, characters: bool) -> np.ndarray:
    texts = [list(WORD_SEPARATOR.join(words)) if characters else words for words in batch]
    ids = [[model.index(token) for token in text] for text in texts]
    ids.sort(key=len, reverse=True)
    histories = np.full(len(ids), model.start(), np.int64)
    total = lost = 0.0
    for place in range(len(ids[0])):
        active = sum(len(row) > place for row in ids)
        tokens = np.array([row[place] for row in ids[:active]], np.int64)
        scores, following = model.score(histories[:active], tokens)
        histories[:active] = following
        total += float(scores.sum(dtype=np.float64))
        lost += float(scores[tokens == model.unknown].sum(dtype=np.float64))
    total += float(model.finish(histories).sum(dtype=np.float64))
    tokens_all, unknown = sum(map(len, ids)), sum(row.count(model.unknown) for row in ids)
    return np.array([len(batch), sum(map(len, batch)), tokens_all, unknown, total, lost])


@dataclass(frozen=True)
class PerplexityOptions:
    """Measure the perplexity of a text under a language model: n-gram (ARPA, KenLM binary) or Transformer."""

    lm: Annotated[Path, Positional, arg(metavar="LM")]
    """An ARPA file, a KenLM binary, or a directory that wav2vec2 lm transformer wrote."""
    text: Annotated[tuple[Path, ...], Positional, arg(metavar="TEXT")]
    """Text files with one sentence per line, plain or gzipped (.gz)."""
    case: Literal["keep", "upper", "lower"] = "keep"
    """Convert the text to this case, which should be that of the model's words."""
    punctuation: Literal["keep", "remove"] = "keep"
    """Keep or remove the text's punctuation."""
    ids: bool = False
    """Each line begins with an identifier to skip (LibriSpeech's *.trans.txt, Kaldi's text)."""


def run(options: PerplexityOptions) -> Perplexity:
    """Measure the perplexity and print it.

    Raises:
        UserError: the model or a text cannot be read, or their words differ in case.
    """
    normalization = TextNormalization(case=options.case, punctuation=options.punctuation)
    corpus = Corpus(options.text, normalization, ids=options.ids)
    model = load_language_model(options.lm)
    characters = model.unit == "characters"
    sample = {
        token for words in islice(corpus, _SAMPLED) for word in words for token in (word if characters else [word])
    }
    check_case(sample, lambda token: model.index(token) != model.unknown, str(options.text[0]), str(options.lm))
    found = measure_perplexity(model, _with_progress(corpus))
    kind = "character" if characters else "word"
    rate = 100 * found.unknown / found.tokens
    print(f"{found.sentences} sentences, {found.words} words")
    print(f"unknown {kind}s: {found.unknown} of {found.tokens} ({rate:.2f} %)")
    print(f"perplexity per {kind}: {found.with_unknown:.2f} with unknown ones, {found.without_unknown:.2f} without")
    if characters:
        print(f"perplexity per word: {found.per_word:.2f}")
    return found


def _with_progress(corpus: Corpus) -> Iterator[list[str]]:
    console = Console(stderr=True)
    columns = (TextColumn("scoring"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=corpus.size)
        for words in corpus:
            progress.update(task, completed=corpus.position)
            yield words
