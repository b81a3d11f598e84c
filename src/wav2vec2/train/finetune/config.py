"""The options of fine-tuning, as a recipe holds them."""

from dataclasses import dataclass, field

from wav2vec2.config import option
from wav2vec2.model.architecture import Masking, Regularization
from wav2vec2.train.finetune.curriculum import CurriculumConfig
from wav2vec2.train.finetune.edges import EdgeConfig
from wav2vec2.train.finetune.text import TextConfig
from wav2vec2.train.finetune.ways import TuneConfig
from wav2vec2.train.options import (
    BatchConfig,
    HealthConfig,
    LogConfig,
    ModelConfig,
    ParallelConfig,
    SpeechData,
    TrainConfig,
)

SCRATCH = "scratch"


@dataclass(frozen=True)
class FinetuneData(SpeechData):
    """Transcribed speech."""

    labels: str = option("", may_change=True)
    """File of utterance ids, one per line: train only on these."""
    validation_manifest: str = option("", may_change=True)
    """Manifest to validate on; empty: the same manifest."""
    validation_split: str = ""
    """Split to validate on. If this and validation_manifest are empty, there is no validation."""
    validation_utterances: int = option(0, low=0)
    """Validate on this many utterances (chosen by a hash of their ids); 0: all."""


@dataclass(frozen=True)
class FreezeConfig:
    """First updates, in which only the output layer is trained; tune.what says what is trained after them."""

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
    """Fine-tune a pre-trained model on transcribed speech: from then on it is a recogniser.

        wav2vec2 finetune finetune_small_1h --init runs/pretrain --data.manifest data --output runs/finetune

    After an interruption the same line goes on. 'wav2vec2 evaluate runs/finetune data' measures its errors.
    """

    output: str = option("runs/finetune", machine=True)
    """Folder of the run: log, checkpoints, model. The same command continues a run that was stopped."""
    init: str = ""
    """Model to start from, or "scratch": random weights of the architecture in the model section, none frozen."""
    seed: int = option(1, low=0)
    """Seed of everything random: new weights, order of the data, masks, dropout."""
    memory: str = option("", machine=True)
    """Memory that training may use, such as 8GB: of the GPU, or on a CPU of the machine. What is trained, forward
    passes, recomputation and precision are then chosen to fit, and printed; a line says so if nothing fits. Empty:
    everything is as the options say."""
    data: FinetuneData = field(default_factory=FinetuneData)
    text: TextConfig = field(default_factory=TextConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    """Used with init = "scratch" only."""
    tune: TuneConfig = field(default_factory=TuneConfig)
    freeze: FreezeConfig = field(default_factory=FreezeConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    edges: EdgeConfig = field(default_factory=EdgeConfig)
    regularization: Regularization = field(default_factory=_finetune_regularization)
    masking: Masking = field(default_factory=lambda: Masking(channel_start=0.004))
    batch: BatchConfig = field(default_factory=lambda: BatchConfig(seconds=1600.0, micro_seconds=200.0))
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    train: TrainConfig = field(default_factory=_finetune_train)
    log: LogConfig = field(default_factory=LogConfig)
    health: HealthConfig = field(default_factory=HealthConfig)
