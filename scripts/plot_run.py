"""Curves of training runs from their log.jsonl.

    python scripts/plot_run.py runs/small/log.jsonl --keys contrastive accuracy codes_used --out curves.png

Solid lines are training, points validation; several logs share the axes.
"""

import argparse
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def read(path: Path, kind: str, key: str) -> tuple[list[int], list[float]]:
    """Updates and values of one number; a run that went on after an interruption has each update once."""
    values = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["kind"] == kind and key in entry:
            values[entry["update"]] = entry[key]
    return sorted(values), [values[update] for update in sorted(values)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="+", type=Path)
    parser.add_argument("--keys", nargs="+", default=["contrastive", "accuracy", "codes_used"])
    parser.add_argument("--out", type=Path, default=Path("curves.png"))
    o = parser.parse_args()
    if missing := [path for path in o.logs if not path.is_file()]:
        sys.exit(f"{missing[0]}: is no file: give the log.jsonl of a run")
    figure, axes = pyplot.subplots(1, len(o.keys), figsize=(4 * len(o.keys), 3), squeeze=False)
    for key, axis in zip(o.keys, axes[0], strict=True):
        for path in o.logs:
            name = path.parent.name
            (line,) = axis.plot(*read(path, "train", key), label=name, linewidth=1)
            axis.plot(*read(path, "validation", key), "o", color=line.get_color(), markersize=3)
            if key == "contrastive" and (chance := read(path, "train", "chance")[1]):
                axis.axhline(chance[0], color="grey", linestyle=":", linewidth=1)
        axis.set(title=key, xlabel="update")
    if len(o.logs) > 1:
        axes[0, 0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(o.out, dpi=90)


if __name__ == "__main__":
    main()
