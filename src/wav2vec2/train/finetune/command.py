"""Fine-tuning for recognition (sections 3.3 and 4.3): the command, and the model that it starts from."""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.config import option
from wav2vec2.data.hold_out import hold_out
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.mixing import Groups, MixBy
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.train import distributed
from wav2vec2.train.corpus import open_manifest, plan_corpus, read_ids
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.finetune.curriculum import CurriculumConfig
from wav2vec2.train.finetune.objective import CTCObjective
from wav2vec2.train.finetune.symbols import seen_symbols, symbol_lines
from wav2vec2.train.finetune.transcripts import Transcripts, transcribed, usable_transcripts
from wav2vec2.train.loop import Trainer
from wav2vec2.train.objective import Run
from wav2vec2.train.options import (
    BatchConfig,
    HealthConfig,
    LogConfig,
    ModelConfig,
    ParallelConfig,
    TrainConfig,
    refuse_impossible,
)
from wav2vec2.train.read_workers import heard_at_most

SCRATCH = "scratch"


@dataclass(frozen=True)
class FinetuneData:
    """Transcribed speech."""

    manifest: str = option("", may_change=True)
    """Manifest: a file, or the folder that 'wav2vec2 prepare' wrote, or a URL such as s3://bucket/folder. Several are
    joined by "+"."""
    split: str = ""
    """Use only this split, or several ("train+dev"); empty: all."""
    mix: MixBy = "none"
    """Balance languages or corpora (the column source): small ones are repeated, large ones wait. source+language:
    languages within each corpus, then the corpora. none: every utterance once an epoch."""
    mix_beta: float = option(0.5, low=0.0, high=1.0)
    """With mix: each gets a share of an epoch in proportion to its hours to this power. 1: as they are; 0: all the
    same. XLS-R and MMS used 0.5."""
    labels: str = option("", may_change=True)
    """File of utterance ids, one per line: train only on these."""
    validation_manifest: str = option("", may_change=True)
    """Manifest to validate on; empty: the same manifest."""
    validation_split: str = ""
    """Split to validate on. If this and validation_manifest are empty, there is no validation."""
    validation_utterances: int = option(0, low=0)
    """Validate on this many utterances (chosen by a hash of their ids); 0: all."""


@dataclass(frozen=True)
class TextConfig:
    """Symbols of the output layer, and normalisation of the transcripts."""

    vocabulary: str = ""
    """Directory with a vocab.json to use; empty: build the vocabulary from the training transcripts."""
    symbols: Literal["characters", "whitespace"] = "characters"
    """characters; or whitespace: transcripts are symbols separated by spaces, such as phones."""
    case: Literal["upper", "lower", "keep"] = "keep"
    """Case of the transcripts."""
    digits: Literal["keep", "ascii", "names", "error"] = "keep"
    """Digits: keep them, write them in ASCII, spell their names, or stop with an error."""
    punctuation: Literal["keep", "remove"] = "keep"
    """Keep punctuation, or remove it."""


@dataclass(frozen=True)
class FreezeConfig:
    """First updates, in which only the output layer is trained.

    The feature encoder stays frozen throughout if regularization.feature_grad_mult is 0.
    """

    updates: int = option(0, low=0)
    """Number of these updates."""
    share: float = option(0.0, low=0.0, high=1.0)
    """The same as a share of train.updates. The larger of the two counts."""


def _finetune_regularization() -> Regularization:
    return Regularization(
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.1,
        input_dropout=0.0,
        feature_dropout=0.0,
        layerdrop=0.1,
        feature_grad_mult=0.0,
    )


def _finetune_train() -> TrainConfig:
    return TrainConfig(
        updates=20_000, lr=5e-5, schedule="tri-stage", warmup_share=0.1, hold_share=0.4, eps=1e-8, weight_decay=0.0
    )


@dataclass(frozen=True)
class FinetuneConfig:
    """Fine-tune a pre-trained model for speech recognition."""

    output: str = option("runs/finetune", machine=True)
    """Folder of the run: log, checkpoints, model. The same command continues a run that was stopped."""
    init: str = ""
    """Model to start from, or "scratch": random weights of the architecture in the model section, none frozen."""
    seed: int = option(1, low=0)
    """Seed of everything random: new weights, order of the data, masks, dropout."""
    data: FinetuneData = field(default_factory=FinetuneData)
    text: TextConfig = field(default_factory=TextConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    """Used with init = "scratch" only."""
    freeze: FreezeConfig = field(default_factory=FreezeConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    regularization: Regularization = field(default_factory=_finetune_regularization)
    masking: Masking = field(default_factory=lambda: Masking(channel_start=0.004))
    batch: BatchConfig = field(default_factory=lambda: BatchConfig(seconds=1600.0, micro_seconds=200.0))
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    train: TrainConfig = field(default_factory=_finetune_train)
    log: LogConfig = field(default_factory=LogConfig)
    health: HealthConfig = field(default_factory=HealthConfig)


def run(config: FinetuneConfig) -> Path:
    """Fine-tune as the recipe says, from the newest checkpoint in ``config.output`` if there is one.

    Returns the model directory.

    Raises:
        UserError: something in the recipe, the data or the model has to be corrected, or a health check failed.
    """
    if not config.init:
        raise UserError('init is not set: give a pre-trained model, or "scratch"')
    refuse_impossible(config)
    with distributed.session(config.train.device, config.parallel.timeout_minutes, config.train.threads) as ranks:
        return _run(config, ranks)


def _run(config: FinetuneConfig, ranks: Ranks) -> Path:
    torch.manual_seed(config.seed)
    manifest = open_manifest(config.data.manifest, config.data.split, "data.manifest")
    if config.data.labels:
        manifest = manifest.with_ids(read_ids(config.data.labels))
    normalization = TextNormalization(config.text.case, config.text.digits, config.text.punctuation)
    vocabulary = build_vocabulary(config.text, manifest, normalization)
    model, lines = build_model(config, vocabulary)
    transcripts = usable_transcripts(manifest, vocabulary, model.architecture)
    model.longest_heard = _longest_heard(transcripts.manifest)
    corpus = plan_corpus(
        transcripts.manifest,
        config.batch,
        ranks,
        seed=config.seed,
        crop=False,
        epsilon=model.architecture.normalization_epsilon,
        heard=heard_at_most(model.architecture, "finetune", ranks.device),
        groups=Groups.of(transcripts.manifest, config.data.mix, config.data.mix_beta),
        curriculum=config.curriculum,
        updates=config.train.updates,
    )
    validation, untranscribed = _validation(config.data)
    freeze = max(config.freeze.updates, round(config.freeze.share * config.train.updates))
    if config.init == SCRATCH:
        freeze = 0
    if ranks.is_main:
        _write_left_out(Path(config.output), transcripts)
    objective = CTCObjective(
        model,
        vocabulary,
        seed=config.seed,
        freeze_updates=freeze,
        validation=validation,
        micro_samples=round(config.batch.micro_seconds * SAMPLE_RATE),
    )
    lines += [*symbol_lines(vocabulary, seen_symbols(vocabulary, transcripts.counts)), *transcripts.lines]
    if freeze:
        lines.append(f"the first {freeze} updates train only the output layer")
    if validation is not None:
        lines.append(f"validation: {len(validation)} utterances, {float(validation.samples.sum()) / 57.6e6:.2f} h")
    if untranscribed:
        lines.append(f"utterances left out of validation: {untranscribed} without a transcript")
    symbols = hashlib.sha256(repr(vocabulary.symbols).encode()).hexdigest()[:16]
    run = Run.of(config, f"{corpus.fingerprint} {symbols}")
    return Trainer(run, objective, corpus.loader, ranks).train([*corpus.lines, *lines])


def _validation(data: FinetuneData) -> tuple[Manifest | None, int]:
    """The transcribed utterances to validate on, and the number of those without a transcript."""
    if not data.validation_manifest and not data.validation_split:
        return None, 0
    path = data.validation_manifest or data.manifest
    every = open_manifest(path, data.validation_split, "data.validation_manifest")
    manifest = transcribed(every)
    untranscribed = len(every) - len(manifest)
    if 0 < data.validation_utterances < len(manifest):
        manifest = hold_out(manifest, data.validation_utterances, set())[1]
    return manifest, untranscribed


def _longest_heard(manifest: Manifest) -> float:
    """Seconds that 95 % of the utterances do not exceed."""
    return round(float(np.percentile(manifest.samples, 95)) / SAMPLE_RATE, 2)


def build_vocabulary(text: TextConfig, manifest: Manifest, normalization: TextNormalization) -> Vocabulary:
    """The vocabulary that the recipe names, or one of the symbols in the training transcripts."""
    if text.vocabulary:
        vocabulary: Vocabulary = Vocabulary.load(text.vocabulary)
        return vocabulary
    texts = transcribed(manifest).column("text").to_pylist()
    return Vocabulary.from_transcripts(texts, unit=text.symbols, normalization=normalization)


def build_model(config: FinetuneConfig, vocabulary: Vocabulary) -> tuple[Wav2Vec2ForCTC, list[str]]:
    """A recogniser with the encoder of ``config.init``, and lines that describe it.

    The output layer is new, unless that of ``config.init`` has the same symbols. From scratch nothing is frozen: a
    feature encoder that stays random would be useless.
    """
    regularization = config.regularization
    if config.init == SCRATCH:
        architecture = config.model.build()
        if regularization.feature_grad_mult != 1.0:
            regularization = replace(regularization, feature_grad_mult=1.0)
        model = Wav2Vec2ForCTC(architecture, vocabulary, regularization, config.masking)
        lines = [f"model: {architecture.name} from scratch, all of it trained from the first update"]
    else:
        from wav2vec2.checkpoints.load import load

        loaded = load(config.init)
        model = Wav2Vec2ForCTC(loaded.architecture, vocabulary, regularization, config.masking)
        model.encoder.load_state_dict(loaded.encoder.state_dict())
        lines = [f"model: {loaded.architecture.name} from {config.init}"]
        if isinstance(loaded, Wav2Vec2ForCTC) and loaded.vocabulary and loaded.vocabulary.symbols == vocabulary.symbols:
            model.head.load_state_dict(loaded.head.state_dict())
            lines[0] += ", output layer kept"
        elif isinstance(loaded, Wav2Vec2ForCTC):
            had = f"{len(loaded.vocabulary)} symbols" if loaded.vocabulary else f"{loaded.head.out_features} outputs"
            lines.append(
                f"the output layer and tokenizer of {config.init} ({had}) are replaced: its symbols are not those of "
                f"these transcripts; --text.vocabulary {config.init} keeps them"
            )
    if regularization.feature_grad_mult == 0.0:
        for parameter in model.encoder.feature_encoder.parameters():
            parameter.requires_grad_(False)
        lines.append("the feature encoder is frozen (regularization.feature_grad_mult = 0)")
    return model, lines


def _write_left_out(output: Path, transcripts: Transcripts) -> None:
    """Write the ids of the utterances that are not trained on, with the reasons."""
    if transcripts.left_out:
        output.mkdir(parents=True, exist_ok=True)
        lines = [f"{name}\t{reason}\n" for name, reason in transcripts.left_out]
        (output / "left_out.tsv").write_text("".join(lines), encoding="utf-8")
