"""The curves that show how a run is doing: pre-training, fine-tuning and language models."""

import math
from collections.abc import Sequence

import numpy as np

from wav2vec2.report.panels import Panel, Style
from wav2vec2.report.run_log import Numbers, RunLog

PUBLISHED_ACCURACY = {50_000: 0.49, 100_000: 0.54, 200_000: 0.58, 300_000: 0.61, 400_000: 0.63}
"""Contrastive accuracy of BASE pre-trained on 960 hours, by update: the mean of eight published runs."""

PARTS = {
    "gradient_norm_feature_encoder": "feature encoder",
    "gradient_norm_context_network": "context network",
    "gradient_norm_quantizer": "quantizer",
    "gradient_norm_heads": "heads",
}

_Points = tuple[Numbers, Numbers]


def pretraining_panels(runs: Sequence[RunLog]) -> list[Panel]:
    """Loss and chance level, accuracy, quantizer, schedule and speed of pre-training runs."""
    loss = Panel("Contrastive loss", "nats per masked frame")
    accuracy = Panel("Contrastive accuracy", "% of masked frames")
    for run in runs:
        _both(loss, run, "contrastive")
        _both(accuracy, run, "accuracy", scale=100)
    _levels(loss, "chance", [run.last("train", "chance") for run in runs])
    _levels(accuracy, "chance", [100 * math.exp(-run.last("train", "chance")) for run in runs])
    used, penalty = Panel("Codes in use", "% of all entries"), Panel("Feature penalty", "mean square", log_y=True)
    tau = Panel("Gumbel temperature", "temperature")
    for run in runs:
        _both(used, run, "codes_used", scale=100)
        _both(penalty, run, "penalty")
        tau.add(run.name, run.series("train", "tau"))
    return [loss, accuracy, used, *perplexity_panels(runs), penalty, tau, *_schedule(runs)]


def perplexity_panels(runs: Sequence[RunLog]) -> list[Panel]:
    """A panel for the perplexity of each codebook; for logs with only their sum, one panel for that."""
    found = [f"code_perplexity_{group}" for group in range(1, 9)]
    keys = {key: f"Perplexity of codebook {key[-1]}" for key in found if any(_has(run, key) for run in runs)}
    if any(not any(_has(run, key) for key in keys) for run in runs):
        keys["code_perplexity"] = "Perplexity, summed over codebooks"
    panels = []
    for key, title in keys.items():
        panel = Panel(title, "entries")
        for run in runs:
            _both(panel, run, key)
        sizes = [codebook_sizes(run) for run in runs]
        _levels(
            panel,
            "uniform use of all entries",
            [size[0] * (size[1] if key == "code_perplexity" else 1) for size in sizes],
        )
        panels.append(panel)
    return panels


def finetuning_panels(runs: Sequence[RunLog]) -> list[Panel]:
    """Loss, error rates, schedule and speed of fine-tuning runs."""
    loss = Panel("CTC loss", "nats per label")
    rates = {"wer": Panel("Word error rate, held-out", "%"), "cer": Panel("Character error rate, held-out", "%")}
    for run in runs:
        _both(loss, run, "per_label")
        for key, panel in rates.items():
            panel.add(run.name, _scaled(run.series("validation", key), 100))
            panel.add(run.name, _scaled(run.series("validation", key), 100), "dots")
    return [loss, rates["wer"], rates["cer"], *_schedule(runs)]


def language_model_panels(runs: Sequence[RunLog]) -> list[Panel]:
    """Loss, perplexity, schedule and speed of language model runs."""
    loss, perplexity = Panel("Loss", "nats per token"), Panel("Perplexity", "tokens", log_y=True)
    for run in runs:
        _both(loss, run, "loss")
        _both(perplexity, run, "perplexity")
    return [loss, perplexity, *_schedule(runs)]


def gradient_panels(runs: Sequence[RunLog]) -> list[Panel]:
    """Gradient norms of the parts of the model: one panel for a single run, a panel for each part for several runs.

    The norm of the whole model is a mean over the updates of a log line; those of the parts are of its last update.
    """
    runs = [run for run in runs if any(_has(run, key) for key in PARTS)]
    if len(runs) == 1:
        panel = Panel("Gradient norm by part", "Euclidean norm", log_y=True)
        for key, part in {"gradient_norm": "whole model", **PARTS}.items():
            panel.add(part, runs[0].series("train", key))
        return [panel]
    panels = []
    for key, part in PARTS.items():
        panel = Panel(f"Gradient norm: {part}", "Euclidean norm", log_y=True)
        for run in runs:
            panel.add(run.name, run.series("train", key))
        panels.append(panel)
    return panels


def reference_panel(runs: Sequence[RunLog]) -> Panel:
    """Contrastive accuracy and the published curve, over the logarithm of the update.

    The published curve shows what a healthy run of BASE looks like. Another model, batch size, corpus or number of
    distractors gives another curve.
    """
    panel = Panel("Contrastive accuracy and that of a published run", "% of masked frames", log_x=True)
    for run in runs:
        _both(panel, run, "accuracy", scale=100)
    updates, shares = np.array(list(PUBLISHED_ACCURACY), float), np.array(list(PUBLISHED_ACCURACY.values()))
    panel.add("published: BASE, 960 h, mean of 8 seeds", (updates, 100 * shares), "reference")
    return panel


def codebook_sizes(run: RunLog) -> tuple[float, float]:
    """Number of entries in a codebook, and number of codebooks; NaN if the log does not show them.

    The number of all entries GV follows from the diversity term on held-out data, (GV - perplexity) / GV (equation 4).
    """
    perplexity, diversity = run.last("validation", "soft_perplexity"), run.last("validation", "diversity")
    if not (math.isfinite(perplexity) and diversity < 1):
        return math.nan, math.nan
    groups = sum(math.isfinite(run.last("validation", f"code_perplexity_{group}")) for group in range(1, 9)) or 2
    return round(perplexity / (1 - diversity)) / groups, groups


def _schedule(runs: Sequence[RunLog]) -> list[Panel]:
    """Learning rate, gradient norm and speed: the panels of every kind of run."""
    rate, norm = Panel("Learning rate", "learning rate"), Panel("Gradient norm", "Euclidean norm", log_y=True)
    unit = "seconds" if any(_has(run, "seconds_per_second") for run in runs) else "tokens"
    speed = Panel("Speed", "audio seconds per second" if unit == "seconds" else "tokens per second")
    for run in runs:
        rate.add(run.name, run.series("train", "lr"))
        norm.add(run.name, run.series("train", "gradient_norm"))
        speed.add(run.name, run.series("train", f"{unit}_per_second"))
    return [rate, norm, speed]


def _both(panel: Panel, run: RunLog, key: str, *, scale: float = 1.0) -> None:
    """Add a number in training as a line, and on held-out data as dots."""
    kinds: tuple[tuple[str, Style], ...] = (("train", "line"), ("validation", "dots"))
    for kind, style in kinds:
        panel.add(run.name, _scaled(run.series("train" if kind == "train" else "validation", key), scale), style)


def _levels(panel: Panel, label: str, values: Sequence[float]) -> None:
    for value in sorted({round(value, 6) for value in values if math.isfinite(value)}):
        panel.add(label, (np.zeros(1), np.array([value])), "level")


def _scaled(points: _Points, scale: float) -> _Points:
    return points[0], points[1] * scale


def _has(run: RunLog, key: str) -> bool:
    return any(key in record for record in run.train.values())
