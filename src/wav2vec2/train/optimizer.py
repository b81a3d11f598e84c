"""AdamW and its parameter groups, learning rate schedules (sections 4.2 and 4.3), norms and clipping of gradients."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from wav2vec2.errors import UserError
from wav2vec2.train.options import TrainConfig

PAPER_BATCH_SECONDS = 5760.0
"""Audio of one update of the paper's BASE model: 1.6 hours."""

Schedule = Callable[[int], float]
"""Factor on the peak learning rate as a function of the update, counted from 0."""


def linear_schedule(updates: int, warmup: int) -> Schedule:
    """From 0 to 1 over ``warmup`` updates, then linearly to 0 at ``updates``.

    The first update has factor 0, as in the released code.
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
    """From ``initial_scale`` to 1 over ``warmup`` updates, 1 for ``hold`` updates, then to ``final_scale`` at the end.

    The last stage is exponential (the released recipes) or linear (the paper).
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
    """The schedule of a recipe's ``train`` section."""
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
    """Peak learning rate, and a line to print if ``scale_lr`` changed it.

    Raises:
        UserError: ``scale_lr`` is set for a run on text (``batch_seconds`` is None).
    """
    if not config.scale_lr:
        return config.lr, None
    if batch_seconds is None:
        raise UserError("train.scale_lr: this rule is for batches of speech; set train.lr instead")
    lr = config.lr * math.sqrt(batch_seconds / PAPER_BATCH_SECONDS)
    return lr, (
        f"learning rate {config.lr:g} scaled to {lr:g}, by the root of {batch_seconds:g} s of audio an update over the "
        f"paper's {PAPER_BATCH_SECONDS:g} s (train.scale_lr)"
    )


def is_decayed(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is decayed unless ``decay_all`` is set.

    Biases, norms, the mask embedding and weight-norm gains are not (at most one of their dimensions is longer than 1),
    nor are codebook entries, which are values rather than weights.
    """
    return sum(size > 1 for size in parameter.shape) > 1 and not name.endswith("codevectors")


def build_optimizer(named: Iterable[tuple[str, nn.Parameter]], config: TrainConfig) -> tuple[torch.optim.AdamW, str]:
    """AdamW over the named parameters, and a line that says which of them are decayed.

    All moments are created at once, so that every checkpoint holds all of them. A parameter that is frozen at first
    starts its own count of steps with its first gradient.
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
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Euclidean norm of all gradients together; not finite if one of them is not."""
    return _total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])


def _total_norm(gradients: list[Tensor]) -> Tensor:
    norm = nn.utils.get_total_norm(gradients)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


_PARTS = {"encoder.feature_encoder.": "feature_encoder", "encoder.": "context_network", "quantizer.": "quantizer"}
"""Part of the model by prefix of the parameter's name (the first match counts); all others are heads."""


def gradient_norms_by_part(model: nn.Module) -> dict[str, Tensor]:
    """Euclidean norm of the gradients in each part of a speech model, as ``gradient_norm_<part>``.

    The parts are feature_encoder, context_network (with its input projection and the mask embedding), quantizer, and
    heads (output projections, CTC layer). Their squares add up to the square of the whole norm. Parts without gradient
    are left out. {} for models without a speech encoder.
    """
    gradients: dict[str, list[Tensor]] = {}
    named = [(name, parameter.grad) for name, parameter in model.named_parameters()]
    if not any(name.startswith("encoder.") for name, _ in named):
        return {}
    for name, gradient in named:
        if gradient is not None:
            part = next((part for start, part in _PARTS.items() if name.startswith(start)), "heads")
            gradients.setdefault(part, []).append(gradient)
    return {f"gradient_norm_{part}": _total_norm(group) for part, group in gradients.items()}


def step_if_finite(optimizer: torch.optim.AdamW, norm: Tensor, limit: float, scale: Tensor) -> None:
    """Take a step unless the ``norm`` of all gradients is not finite; clip them to a norm of ``limit`` (0: never).

    The gradients are ``scale`` times what they should be, ``norm`` is not.
    The kernel of AdamW divides the gradients and skips the step by two numbers on the device, which gradient scalers
    use as well, so the host waits for nothing.
    """
    skip = (~norm.isfinite()).float()
    divisor = (norm / limit).clamp_min(1.0) if limit > 0 else torch.ones_like(norm)
    optimizer.grad_scale = torch.where(skip > 0, 1.0, divisor * scale).float()  # type: ignore[attr-defined]
    optimizer.found_inf = skip  # type: ignore[attr-defined]
    optimizer.step()
