"""Training of a Transformer language model (section 4.4) over words or characters: the command, and its text."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from wav2vec2.config import option
from wav2vec2.errors import UserError
from wav2vec2.lm.corpus import Corpus
from wav2vec2.lm.language_model import Unit
from wav2vec2.lm.transformer.model_directory import TokenVocabulary, tokens_of
from wav2vec2.lm.transformer.network import LanguageModelDropout, LanguageModelSizes, TransformerNetwork
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.train import distributed
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.language_model.objective import LanguageModelObjective
from wav2vec2.train.language_model.token_batches import Sentences, TokenLoader, encode_sentences, held_out_lines
from wav2vec2.train.loop import Trainer
from wav2vec2.train.objective import Run
from wav2vec2.train.options import HealthConfig, LogConfig, ParallelConfig, TrainConfig, refuse_impossible


@dataclass(frozen=True)
class TextData:
    """Text to learn from."""

    text: tuple[str, ...] = option((), may_change=True)
    """Plain text files (or .gz), one sentence per line."""
    ids: bool = False
    """The first word of each line is an utterance id; drop it."""
    hold_out: int = option(0, low=0)
    """Hold this many lines out of training, for validation; chosen by a hash of their text."""
    validation: tuple[str, ...] = option((), may_change=True)
    """Validate on these files instead of held-out lines."""
    validation_ids: bool = False
    """The first word of each line of these files is an utterance id; drop it."""


@dataclass(frozen=True)
class TokensConfig:
    """Tokens that the model reads and predicts, and normalisation of the text."""

    unit: Unit = "words"
    """words, or characters with | between words."""
    min_count: int = option(1, low=1)
    """Words that occur less often than this become the unknown word."""
    vocabulary: str = ""
    """File of the known tokens, one per line; empty: the tokens of the text."""
    case: Literal["upper", "lower", "keep"] = "keep"
    """Case of the text; it should be that of the recogniser's vocabulary."""
    digits: Literal["keep", "ascii", "names", "error"] = "keep"
    """Digits: keep them, write them in ASCII, spell their names, or stop with an error."""
    punctuation: Literal["keep", "remove"] = "keep"
    """Keep punctuation, or remove it."""


@dataclass(frozen=True)
class TokenBatchConfig:
    """How many tokens an update uses, and how it is divided into forward passes."""

    tokens: int = option(4096, low=1)
    """Batch size: predicted tokens of one update, over all processes together."""
    micro_tokens: int = option(4096, low=1, may_change=True)
    """Most tokens, with padding, of a forward pass of one process. Less needs less memory and gives the same gradient.
    """
    max_tokens: int = option(512, low=2)
    """Longer sentences are cropped at random."""


@dataclass(frozen=True)
class LanguageModelConfig:
    """Train a Transformer language model on text.

        wav2vec2 lm transformer lm_word_small --data.text text.txt --output runs/lm

    After an interruption the same line goes on. Decoding takes the model with --lm or --rescore.
    """

    output: str = option("runs/lm", machine=True)
    """Folder of the run: log, checkpoints, model. The same command continues a run that was stopped."""
    seed: int = option(1, low=0)
    """Seed of everything random: initial weights, order of the text, dropout."""
    data: TextData = field(default_factory=TextData)
    text: TokensConfig = field(default_factory=TokensConfig)
    model: LanguageModelSizes = field(default_factory=LanguageModelSizes)
    regularization: LanguageModelDropout = field(default_factory=LanguageModelDropout)
    batch: TokenBatchConfig = field(default_factory=TokenBatchConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(lr=1e-3, beta2=0.98, eps=1e-8, clip_norm=1.0))
    log: LogConfig = field(default_factory=LogConfig)
    health: HealthConfig = field(default_factory=HealthConfig)


@dataclass(frozen=True)
class EncodedText:
    """Text as token numbers, and the vocabulary."""

    vocabulary: TokenVocabulary
    training: Sentences
    validation: Sentences | None
    validation_words: int
    lines: list[str]
    """Description of the text, to print."""


def run(config: LanguageModelConfig) -> Path:
    """Train as the recipe says, from the newest checkpoint in ``config.output`` if there is one.

    Returns the model directory.

    Raises:
        UserError: something in the recipe or the text has to be corrected, or a health check failed.
    """
    refuse_impossible(config)
    with distributed.session(config.train.device, config.parallel.timeout_minutes, config.train.threads) as ranks:
        return _run(config, ranks)


def _run(config: LanguageModelConfig, ranks: Ranks) -> Path:
    text = read_text(config.data, config.text)
    batch = config.batch
    loader = TokenLoader(
        text.training,
        batch_tokens=batch.tokens,
        micro_tokens=batch.micro_tokens,
        max_tokens=batch.max_tokens,
        seed=config.seed,
        rank=ranks.rank,
        world=ranks.world,
    )
    torch.manual_seed(config.seed)
    network = TransformerNetwork(config.model, len(text.vocabulary), config.regularization)
    objective = LanguageModelObjective(
        network,
        text.vocabulary,
        seed=config.seed,
        validation=text.validation,
        validation_words=text.validation_words,
        micro_tokens=batch.micro_tokens,
    )
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    lines = [
        *text.lines,
        f"an epoch: {int(text.training.predicted.sum())} tokens, {loader.plan.batches(0)} updates of {batch.tokens}",
        f"model: {config.model.layers} blocks of width {config.model.hidden_size}, {millions:.2f} M parameters",
    ]
    run = Run.of(config, text.training.fingerprint)
    return Trainer(run, objective, loader, ranks).train(lines)


def read_text(data: TextData, text: TokensConfig) -> EncodedText:
    """Read the text twice, to count tokens and to encode it.

    Raises:
        UserError: there is no text, a file cannot be read, or no token of the text is in the vocabulary.
    """
    if not data.text:
        raise UserError("data.text is not set: give text files, one sentence per line")
    normalization = TextNormalization(text.case, text.digits, text.punctuation)
    corpus = Corpus([Path(name) for name in data.text], normalization, data.ids)
    held: set[int] = set()
    if data.hold_out and not data.validation:
        held = held_out_lines(corpus, data.hold_out)
    counts: Counter[str] = Counter()
    for words in _some(corpus, held, inside=False):
        counts.update(tokens_of(words, text.unit))
    allowed = {words[0] for words in Corpus([Path(text.vocabulary)])} if text.vocabulary else None
    vocabulary = TokenVocabulary.build(counts, text.unit, normalization, min_count=text.min_count, allowed=allowed)
    training = encode_sentences(map(vocabulary.encode, _some(corpus, held, inside=False)), 0)
    unknown = 100 * int((training.tokens == 1).sum()) / int(training.predicted.sum())
    known = f"{len(vocabulary)} {text.unit} known, {unknown:.2f} % of the tokens unknown"
    lines = [f"text: {len(training)} sentences; {known}"]
    if not data.validation and not held:
        return EncodedText(vocabulary, training, None, 0, lines)
    aside = list(_some(corpus, held, inside=True))
    if data.validation:
        aside = list(Corpus([Path(name) for name in data.validation], normalization, data.validation_ids))
    count = sum(map(len, aside))
    lines.append(f"validation: {len(aside)} sentences, {count} words")
    return EncodedText(vocabulary, training, encode_sentences(map(vocabulary.encode, aside), 0), count, lines)


def _some(corpus: Corpus, held: set[int], *, inside: bool) -> Iterator[list[str]]:
    return (words for number, words in enumerate(corpus) if (number in held) == inside)
