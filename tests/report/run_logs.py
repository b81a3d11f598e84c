"""Logs of runs as training writes them, with numbers that a test can compute."""

import json
from pathlib import Path


def pretraining_records(updates: int = 4, **extra: float) -> list[dict]:
    """A record every 10 updates, one validation at the end, and the stop."""
    records: list[dict] = []
    for number in range(1, updates + 1):
        numbers = {
            "contrastive": 5.0 - number / 10,
            "accuracy": number / 100,
            "chance": 4.615,
            "tau": 2.0 - number / 10,
        }
        numbers |= {"code_perplexity": 2.0 * number, "codes_used": 0.5, "penalty": 1e-3, "lr": 1e-4 * number}
        numbers |= {"code_perplexity_1": 1.5 * number, "code_perplexity_2": 0.5 * number}
        numbers |= {"gradient_norm": 5.0, "gradient_norm_heads": 3.0, "gradient_norm_quantizer": 4.0}
        records.append(
            {"kind": "train", "update": 10 * number, "time": 1.0, **numbers, "seconds_per_second": 9.0} | extra
        )
    held_out = {"contrastive": 4.4, "accuracy": 0.05, "soft_perplexity": 12.0, "diversity": 0.25, "score": 4.5}
    records.append(
        {
            "kind": "validation",
            "update": 10 * updates,
            "time": 2.0,
            **held_out,
            "code_perplexity_1": 5.0,
            "code_perplexity_2": 6.0,
        }
    )
    return [*records, {"kind": "stop", "update": 10 * updates, "time": 3.0, "reason": "done", "bad_files": 0}]


def finetuning_records() -> list[dict]:
    """Two records and two validations, of which the first is the better one."""
    return [
        {"kind": "train", "update": 5, "loss": 90.0, "per_label": 3.0, "lr": 1e-3, "gradient_norm": 9.0},
        {"kind": "validation", "update": 5, "per_label": 2.9, "wer": 0.9, "cer": 0.5, "score": 0.5},
        {"kind": "train", "update": 10, "loss": 80.0, "per_label": 2.5, "lr": 1e-3, "gradient_norm": 8.0},
        {"kind": "validation", "update": 10, "per_label": 2.6, "wer": 0.8, "cer": 0.6, "score": 0.6},
    ]


def write_run(folder: Path, records: list[dict], config: str = "") -> Path:
    """The folder of a run with this log and recipe."""
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if config:
        (folder / "config.toml").write_text(config)
    return folder
