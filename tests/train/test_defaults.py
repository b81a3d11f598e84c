"""The defaults of every key: recipes hold only what differs from them, so a default that moves changes every recipe.

Those of pre-training are BASE of section 4.2, those of fine-tuning BASE of section 4.3 and Table 6, as in the released
recipes; those of language models are section 4.4's.
"""

import pytest

from wav2vec2.config import options
from wav2vec2.train.finetune.config import FinetuneConfig
from wav2vec2.train.language_model.command import LanguageModelConfig
from wav2vec2.train.pretrain.command import PretrainConfig

COMMON = """
seed=1  data.hold_out=0  model.architecture=base  regularization.final_dropout=0.0  regularization.tau_start=2.0
regularization.tau_end=0.5  regularization.tau_decay=0.999995  masking.time_start=0.065  masking.time_span=10
masking.min_spans=2  masking.channel_span=64  masking.span_lengths=static  masking.span_spread=0.0
masking.overlap=True  masking.min_space=1  batch.length_jitter=0.1  batch.buckets=0  batch.multiple=8
batch.workers=-1  batch.prefetch=4
batch.in_memory=False  batch.by_node=False  train.scale_lr=False  train.hold_share=0.4  train.decay=exponential
train.initial_scale=0.01  train.final_scale=0.05  train.beta1=0.9  train.beta2=0.98  train.decay_all=False
train.max_skips=20  train.precision=fp32
train.residual=float32  train.triton=True  train.device=auto  train.threads=0  train.max_minutes=0.0  log.every=25
log.validate_every=500  log.save_every=500  log.keep_last=2  log.tensorboard=True  health.enabled=True
health.go_back=True  health.patience=4  health.grace_share=0.02  health.chance_share=0.15
health.chance_margin=0.02  health.collapse_perplexity=2.5  text.case=keep  text.digits=keep  text.punctuation=keep
data.mix=none  data.mix_beta=0.5  parallel.strategy=ddp  parallel.recompute=False  parallel.timeout_minutes=30.0
train.compile=False
"""
PRETRAIN = """
output=runs/pretrain  init_quantizer=keep  data.hold_out_by=auto  units.kind=quantizer  units.layer=-1
units.clusters=500  units.fit_frames=200000  units.iterations=30  regularization.dropout=0.1
regularization.attention_dropout=0.1
regularization.activation_dropout=0.0  regularization.input_dropout=0.1  regularization.feature_dropout=0.1
regularization.layerdrop=0.05  regularization.feature_grad_mult=0.1  masking.channel_start=0.0
loss.diversity_weight=0.1  loss.penalty_weight=10.0  loss.diversity_over=all  loss.best_by=contrastive
loss.tau_floor_share=0.0  batch.seconds=5760.0  batch.micro_seconds=87.5  batch.min_seconds=2.0
batch.max_seconds=15.625  train.updates=400000  train.lr=0.0005  train.schedule=linear  train.warmup_share=0.08
train.eps=1e-06  train.weight_decay=0.01  train.clip_norm=0.0
"""
FINETUNE = """
output=runs/finetune  data.validation_utterances=0  text.symbols=characters  freeze.updates=0  freeze.share=0.0
tune.what=auto  tune.adapter_size=16  tune.lora_rank=16  tune.lora_alpha=32.0
edges.share=0.0  edges.seconds=0.3  text.auto=False  text.hyphens=space  text.marks=keep  text.letters=keep
text.spaces=keep
curriculum.share=0.0  curriculum.seconds=8.0  curriculum.epochs=20.0  regularization.dropout=0.0
regularization.attention_dropout=0.0  regularization.activation_dropout=0.1  regularization.input_dropout=0.0
regularization.feature_dropout=0.0  regularization.layerdrop=0.1  regularization.feature_grad_mult=0.0
masking.channel_start=0.004  batch.seconds=1600.0  batch.micro_seconds=200.0  batch.min_seconds=0.1
batch.max_seconds=30.0  train.updates=20000  train.lr=5e-05  train.schedule=tri-stage  train.warmup_share=0.1
train.eps=1e-08  train.weight_decay=0.0  train.clip_norm=0.0
"""
LANGUAGE_MODEL = """
output=runs/lm  data.ids=False  data.validation_ids=False  text.unit=words  text.min_count=1
model.hidden_size=1280  model.layers=20  model.ffn_size=6144  model.heads=16  model.cutoffs=(60000,160000)
model.cutoff_factor=4  model.layer_norm_first=True  model.layer_norm_eps=1e-05  regularization.dropout=0.1
regularization.attention_dropout=0.1  regularization.activation_dropout=0.1  batch.tokens=4096
batch.micro_tokens=4096  batch.max_tokens=512  train.updates=400000  train.lr=0.001  train.schedule=linear
train.warmup_share=0.08  train.eps=1e-08  train.weight_decay=0.01  train.clip_norm=1.0
"""


def stated(text: str) -> dict[str, str]:
    return dict(item.split("=") for item in text.split())


@pytest.mark.parametrize(
    ("config", "own"),
    [(PretrainConfig(), PRETRAIN), (FinetuneConfig(), FINETUNE), (LanguageModelConfig(), LANGUAGE_MODEL)],
    ids=["pretrain", "finetune", "language model"],
)
def test_defaults_are_those_stated(config: object, own: str) -> None:
    found = {key: str(value).replace(" ", "") for key, value, _ in options(config)}
    given = {key: value for key, value in found.items() if value not in ("None", "", "()")}
    given = {key: value for key, value in given.items() if not key.startswith("variant.")}
    expected = stated(COMMON) | stated(own)
    assert given == {key: value for key, value in expected.items() if key in found}
    assert set(stated(own)) <= set(found)
