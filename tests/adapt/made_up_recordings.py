"""A folder of noise by speaker with a table of transcripts, and options that make `adapt` a matter of seconds."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tests.small_models import SMALLEST

from wav2vec2.adapt.options import AdaptOptions

SENTENCES = ("Red box.", "A red lamp", "Blue box and lamp!", "the blue lamp", "A box")
TRANSCRIBED, SPEAKERS, EACH = 6, 8, 3
_MODEL = (f"*pretrain:model.{name}={list(v) if isinstance(v, tuple) else v}" for name, v in SMALLEST.items())
CHANGES = (
    *_MODEL,
    *(
        "*:batch.workers=0",
        "pretrain:batch.seconds=8",
        "pretrain:batch.micro_seconds=8",
        "pretrain:batch.min_seconds=1",
    ),
    *("pretrain:units.fit_frames=500", "pretrain:units.iterations=2", "pretrain:units.clusters=8"),
)


def write_recordings(root: Path) -> tuple[Path, Path]:
    """Eight speakers of three recordings, of whom six are transcribed; returns the folder and the table."""
    rng, rows = np.random.default_rng(0), []
    for speaker in range(SPEAKERS):
        folder = root / "recordings" / f"speaker{speaker}"
        folder.mkdir(parents=True)
        for number in range(EACH):
            soundfile.write(folder / f"u{number}.wav", rng.normal(0, 0.1, 20_000 + 1_500 * number), 16_000)
            if speaker < TRANSCRIBED:
                rows.append((f"speaker{speaker}/u{number}.wav", SENTENCES[(speaker + number) % len(SENTENCES)]))
    table = root / "table.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "text"), *rows])
    return root / "recordings", table


def smallest(out: Path, recordings: Path, table: Path, **changes: Any) -> AdaptOptions:
    """Options of a run in seconds."""
    chosen: dict[str, Any] = {"updates": 4, "pretrain_updates": 3, "trials": 2, "workers": 1, "threads": 1}
    chosen |= {"pretrain": "always", "set": CHANGES, "device": "cpu", "source": "scratch"}
    return AdaptOptions(recordings=str(recordings), transcripts=table, out=out, **(chosen | changes))
