"""AdamW, its parameter groups, and learning rate schedules as pure functions of the update (SPEC E, F)."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from wav2vec2.errors import UserError
from wav2vec2.train.options import TrainConfig

PAPER_BATCH_SECONDS = 5760.0
"""Audio of one update of the paper's BASE model: 1.6 hours."""

Schedule = Callable[[int], float]


def linear_schedule(updates: int, warmup: int) -> Schedule:
    """Factor on the learning rate: 0 to 1 over ``warmup`` updates, then linearly to 0 at ``updates``.

    The value for update t (counted from 0) is the one after t complete updates, as the paper's code has it.
    """

    def factor(update: int) -> float:
        if update < warmup:
            return update / warmup
        return max(0.0, (updates - update) / max(1, updates - warmup))

    return factor


def tri_stage_schedule(
    updates: int,
    warmup: int,
    hold: int,
    *,
    initial_scale: float = 0.01,
    final_scale: float = 0.05,
    decay: str = "exponential",
) -> Schedule:
    """Factor on the learning rate: from ``initial_scale`` to 1, constant, then decay to ``final_scale`` at ``updates``.

    The decay is exponential (the published recipes) or linear (the paper's text).
    """
    decaying = max(1, updates - warmup - hold)

    def factor(update: int) -> float:
        if update < warmup:
            return initial_scale + (1.0 - initial_scale) * update / warmup
        if update < warmup + hold:
            return 1.0
        share = min(1.0, (update - warmup - hold) / decaying)
        if decay == "exponential":
            return math.exp(math.log(final_scale) * share)
        return 1.0 + (final_scale - 1.0) * share

    return factor


def schedule(config: TrainConfig) -> Schedule:
    """The schedule that a recipe's ``train`` section describes."""
    warmup = round(config.warmup_share * config.updates)
    if config.schedule == "linear":
        return linear_schedule(config.updates, warmup)
    return tri_stage_schedule(
        config.updates,
        warmup,
        round(config.hold_share * config.updates),
        initial_scale=config.initial_scale,
        final_scale=config.final_scale,
        decay=config.decay,
    )


def peak_lr(config: TrainConfig, batch_seconds: float | None) -> tuple[float, str | None]:
    """Peak learning rate, and a line to announce when ``scale_lr`` changed it."""
    if not config.scale_lr:
        return config.lr, None
    if batch_seconds is None:
        raise UserError("train.scale_lr: the rule is for batches of speech; set train.lr itself")
    lr = config.lr * math.sqrt(batch_seconds / PAPER_BATCH_SECONDS)
    return lr, (
        f"learning rate {config.lr:g} scaled to {lr:g}: sqrt of {batch_seconds:g} s of audio an update "
        f"over the paper's {PAPER_BATCH_SECONDS:g} s (train.scale_lr)"
    )


def is_decayed(name: str, parameter: Tensor) -> bool:
    """Whether weight decay acts on a parameter when ``decay_all`` is off.

    Not on biases, norms, the mask embedding and weight-norm gains (at most one dimension longer than 1), nor on the
    quantizer's entries, which are values and not weights.
    """
    return sum(size > 1 for size in parameter.shape) > 1 and not name.endswith("codevectors")


def build_optimizer(named: Iterable[tuple[str, nn.Parameter]], config: TrainConfig) -> tuple[torch.optim.AdamW, str]:
    """AdamW over the given parameters, and a line that states which of them are decayed.

    The moments are made at once, so that a checkpoint always holds all of them: a parameter that is trained later
    (after the frozen phase) starts its own count of steps when its first gradient comes.
    """
    named = list(named)
    decayed = [parameter for name, parameter in named if config.decay_all or is_decayed(name, parameter)]
    chosen = {id(parameter) for parameter in decayed}
    others = [parameter for _, parameter in named if id(parameter) not in chosen]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=0.0,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=True,
    )
    for _, parameter in named:
        optimizer.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    counts = [sum(p.numel() for p in group) / 1e6 for group in (decayed, others)]
    line = (
        f"AdamW: weight decay {config.weight_decay:g} on {len(decayed)} tensors ({counts[0]:.2f} M parameters), none "
        f"on {len(others)} ({counts[1]:.2f} M: biases, norms, mask embedding, gains, codebook entries)"
    )
    if config.decay_all:
        line = (
            f"AdamW: weight decay {config.weight_decay:g} on all {len(decayed)} tensors ({counts[0]:.2f} M parameters)"
        )
    return optimizer, line


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Euclidean norm of all gradients together (a scalar; not finite when one of them is not)."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return nn.utils.get_total_norm(gradients)


_PARTS = {"encoder.feature_encoder.": "feature_encoder", "encoder.": "context_network", "quantizer.": "quantizer"}
"""By the beginning of a parameter's name, the first that fits; the rest (output projections, CTC layer) are heads."""


def gradient_norms_by_part(model: nn.Module) -> dict[str, float]:
    """Euclidean norm of the gradients of each part of a speech model, as ``gradient_norm_<part>``.

    Parts are feature_encoder, context_network (with the projection into it and the mask embedding), quantizer and
    heads; the squares add up to that of the whole. Parts without a gradient, such as a frozen one, are left out, and
    so are norms that are not finite. {} for models without a speech encoder.
    """
    gradients: dict[str, list[Tensor]] = {}
    named = [(name, parameter.grad) for name, parameter in model.named_parameters()]
    if not any(name.startswith("encoder.") for name, _ in named):
        return {}
    for name, gradient in named:
        if gradient is not None:
            part = next((part for start, part in _PARTS.items() if name.startswith(start)), "heads")
            gradients.setdefault(part, []).append(gradient)
    norms = {part: float(nn.utils.get_total_norm(group)) for part, group in gradients.items()}
    return {f"gradient_norm_{part}": norm for part, norm in norms.items() if math.isfinite(norm)}


def clip_gradients(parameters: Iterable[nn.Parameter], norm: Tensor, limit: float) -> None:
    """Scale gradients of total ``norm`` down to ``limit``."""
    if float(norm) > limit:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(limit / norm.to(parameter.grad.dtype))
