"""Pre-training on raw speech (sections 2, 3.1 and 3.2): the command, and new or continued models to start from."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.config import option
from wav2vec2.data.hold_out import hold_out
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.mixing import Groups
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.encoder import SharedEncoder
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.model.variants.pretraining import pretraining_model
from wav2vec2.model.variants.targets import FixedUnits
from wav2vec2.model.variants.variant import PROPOSED, Variant
from wav2vec2.train import distributed
from wav2vec2.train.corpus import open_manifest, plan_corpus, read_ids
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.loop import Trainer
from wav2vec2.train.objective import Run
from wav2vec2.train.options import (
    BatchConfig,
    HealthConfig,
    LogConfig,
    ModelConfig,
    ParallelConfig,
    SpeechData,
    TrainConfig,
    refuse_impossible,
)
from wav2vec2.train.pretrain.fixed_units import UnitsConfig, fix_entries, unit_source, with_units
from wav2vec2.train.pretrain.forecast import forecast
from wav2vec2.train.pretrain.objective import ContrastiveObjective, LossConfig
from wav2vec2.train.read_workers import heard_at_most

_HEAD = ("codebook_groups", "codebook_entries", "codevector_size", "final_size", "negatives", "logit_temperature")
_INPUT = ("feature_projection.", "input_quantizer.")


@dataclass(frozen=True)
class PretrainData(SpeechData):
    """Speech to learn from. Transcripts are not used."""

    hold_out: int = option(0, low=0)
    """Hold this many utterances out of training, for validation."""
    hold_out_avoid: str = option("", may_change=True)
    """File of utterance ids, one per line, that are not to be held out."""
    hold_out_by: Literal["auto", "sha256"] = option("auto", may_change=True)
    """Hash of the ids by which utterances are held out. auto: SHA-256; of more than 500,000 utterances a faster one.
    sha256: to resume a run of that size that was started before this could be chosen."""
    validation_manifest: str = option("", may_change=True)
    """Validate on this manifest instead of held-out utterances."""
    validation_split: str = ""
    """Split of validation_manifest; empty: all."""


@dataclass(frozen=True)
class PretrainConfig:
    """Pre-train a model on speech without transcripts.

        wav2vec2 pretrain pretrain_small --data.manifest data --output runs/pretrain

    After an interruption the same line goes on. 'wav2vec2 finetune --init runs/pretrain' makes a recogniser of it.
    """

    output: str = option("runs/pretrain", machine=True)
    """Folder of the run: log, checkpoints, model. The same command continues a run that was stopped."""
    seed: int = option(1, low=0)
    """Seed of everything random: initial weights, order of the data, masks, distractors, dropout."""
    init: str = ""
    """Start from this model (of any format that can be read) instead of random weights."""
    init_quantizer: Literal["keep", "redraw"] = "keep"
    """With init: keep its quantizer and projections, or draw new ones as the sections variant, units and model say."""
    data: PretrainData = field(default_factory=PretrainData)
    model: ModelConfig = field(default_factory=ModelConfig)
    variant: Variant = field(default_factory=Variant)
    units: UnitsConfig = field(default_factory=UnitsConfig)
    regularization: Regularization = field(default_factory=Regularization)
    masking: Masking = field(default_factory=Masking)
    loss: LossConfig = field(default_factory=LossConfig)
    batch: BatchConfig = field(default_factory=lambda: BatchConfig(min_seconds=2.0, max_seconds=15.625))
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    log: LogConfig = field(default_factory=LogConfig)
    health: HealthConfig = field(default_factory=HealthConfig)


def run(config: PretrainConfig) -> Path:
    """Pre-train as the recipe says, from the newest checkpoint in ``config.output`` if there is one.

    Returns the model directory.

    Raises:
        UserError: something in the recipe or the data has to be corrected, or a health check failed.
    """
    refuse_impossible(config)
    with distributed.session(config.train.device, config.parallel.timeout_minutes, config.train.threads) as ranks:
        return _run(config, ranks)


def _run(config: PretrainConfig, ranks: Ranks) -> Path:
    manifest = open_manifest(config.data.manifest, config.data.split, "data.manifest")
    validation: Manifest | None = None
    if config.data.validation_manifest:
        name = config.data.validation_manifest
        validation = open_manifest(name, config.data.validation_split, "data.validation_manifest")
    elif config.data.hold_out:
        avoid = read_ids(config.data.hold_out_avoid) if config.data.hold_out_avoid else set()
        manifest, validation = hold_out(manifest, config.data.hold_out, avoid, config.data.hold_out_by)
    model, lines = build_model(config)
    epsilon = model.architecture.normalization_epsilon
    groups = Groups.of(manifest, config.data.mix, config.data.mix_beta)
    corpus = plan_corpus(
        manifest,
        config.batch,
        ranks,
        seed=config.seed,
        crop=True,
        epsilon=epsilon,
        heard=heard_at_most(model.architecture, "pretrain", ranks.device),
        groups=groups,
    )
    if validation is not None:
        hours = float(validation.samples.sum()) / SAMPLE_RATE / 3600
        lines.append(f"validation: {len(validation)} utterances, {hours:.2f} h")
    objective = ContrastiveObjective(
        model,
        config.loss,
        config.seed,
        validation,
        micro_samples=round(config.batch.micro_seconds * SAMPLE_RATE),
        max_samples=round(config.batch.max_seconds * SAMPLE_RATE),
        units=unit_source(config.units, model, manifest, Path(config.output), config.seed, ranks),
    )
    if not config.init and not config.units.given:
        parameters = sum(parameter.numel() for parameter in model.parameters())
        on_cpu = ranks.device.type == "cpu"
        lines += forecast(config.batch, config.train, parameters=parameters, on_cpu=on_cpu)
    trainer = Trainer(Run.of(config, corpus.fingerprint), objective, corpus.loader, ranks)
    return trainer.train([*corpus.lines, *lines])


def scaled_regularization(config: PretrainConfig) -> Regularization:
    """The recipe's regularisation, with the temperature decay that ``loss.tau_floor_share`` asks for."""
    r, share = config.regularization, config.loss.tau_floor_share
    if share <= 0:
        return r
    return replace(r, tau_decay=(r.tau_end / r.tau_start) ** (1.0 / (share * config.train.updates)))


def build_model(config: PretrainConfig) -> tuple[Wav2Vec2ForPretraining, list[str]]:
    """A new model, or one that continues ``config.init``, and lines that describe it.

    Raises:
        UserError: the recipe contradicts itself or ``config.init``.
    """
    torch.manual_seed(config.seed)
    regularization, masking = scaled_regularization(config), config.masking
    if (config.variant.targets == "fixed") != config.units.given:
        raise UserError(
            "variant.targets = fixed needs units, other targets have none: set units.source to the model that defines "
            "them, or units.kind = mfcc"
        )
    if config.units.kind == "mfcc" and config.units.source:
        raise UserError(
            f"units.source: units of cepstra (units.kind = mfcc) need no model; leave out {config.units.source}"
        )
    if config.init:
        if config.init_quantizer == "redraw":
            head = config.model.build(config.variant)
            model, kept = _with_new_targets(config.init, head, config.units, regularization, masking)
        else:
            model, kept = _continued(config.init, config.variant, regularization, masking)
            if isinstance(model.quantizer, FixedUnits) and config.units.kind == "quantizer":
                model.quantizer.codevectors.requires_grad_(False)
        name = model.architecture.name
        return model, [f"model: {name}, {_millions(model)} M parameters, continues {config.init} ({kept})"]
    architecture = with_units(config.units, config.model.build(config.variant))
    model = pretraining_model(architecture, regularization, masking)
    lines = [f"model: {architecture.name}, {_millions(model)} M parameters, from scratch"]
    if architecture.variant != PROPOSED:
        changed = ", ".join(f"{name} = {value}" for name, value in architecture.variant.differences().items())
        lines.append(f"variant: {changed}")
    if config.units.given:
        lines.append(f"units: {fix_entries(config.units, model)}")
    return model, lines


def _continued(
    source: str, variant: Variant, regularization: Regularization, masking: Masking
) -> tuple[Wav2Vec2ForPretraining, str]:
    """A model with all weights of ``source``, and a note on its quantizer, which a recogniser does not have.

    Raises:
        UserError: ``source`` cannot be read, or is a different variant from the recipe's.
    """
    loaded = _load(source)
    if variant not in (PROPOSED, loaded.architecture.variant):
        raise UserError(
            f"init: {source} is a different variant from that of the variant section; leave that section out, or draw "
            "new targets with init_quantizer = redraw"
        )
    model = pretraining_model(loaded.architecture, regularization, masking)
    if isinstance(loaded, Wav2Vec2ForPretraining):
        model.load_state_dict(loaded.state_dict())
        return model, "quantizer kept"
    model.encoder.load_state_dict(loaded.encoder.state_dict())
    return model, "a recogniser: quantizer drawn anew"


def _with_new_targets(
    source: str, head: Architecture, units: UnitsConfig, regularization: Regularization, masking: Masking
) -> tuple[Wav2Vec2ForPretraining, str]:
    """A model with the encoder of ``source`` below the targets of ``head``, and a note on what is new.

    The projection of the Transformer's input is new too if that input changes (``variant.inputs``). So every target of
    table 4 can be learned with the same trained encoder.

    Raises:
        UserError: ``source`` cannot be read, or its frames do not match the units.
    """
    loaded = _load(source)
    sizes = {name: getattr(head, name) for name in _HEAD}
    try:
        architecture = replace(loaded.architecture, variant=head.variant, **sizes)
    except ValueError as error:
        raise UserError(f"model: {error}; change these keys of the recipe") from None
    model = pretraining_model(with_units(units, architecture), regularization, masking)
    old, new = loaded.encoder.state_dict(), model.encoder.state_dict()
    same_inputs = head.variant.inputs == loaded.architecture.variant.inputs
    if not same_inputs or any(old[name].shape != new[name].shape for name in old):
        old = {name: value for name, value in old.items() if not name.startswith(_INPUT)}
    model.encoder.load_state_dict({**new, **old})
    drawn = "quantizer drawn anew"
    if not any(name.startswith(_INPUT) for name in old):
        drawn = "quantizer and feature projection drawn anew"
    elif head.variant.input_quantizer == "shared":  # the codebooks belong to the encoder
        drawn = "codebooks, which the inputs share, kept; projections drawn anew"
    if units.given:
        drawn += f"; units: {fix_entries(units, model)}"
    return model, drawn


def _load(source: str) -> SharedEncoder:
    from wav2vec2.checkpoints.load import load

    return load(source)


def _millions(model: nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.2f}"
