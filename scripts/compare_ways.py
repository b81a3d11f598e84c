"""Ways to adapt one encoder to the same labels, side by side: a table of error rates with intervals, in Markdown.

    python scripts/compare_ways.py SPEECH --transcripts labels-10min.txt --from MODEL --out runs/ways > ways.md

Each row is a run of `wav2vec2 adapt` in a folder of its own below --out, with the same division, updates and seed:

    context, everything, adapters, lora   what is fine-tuned
    continued                             everything, after pre-training has gone on on the untranscribed speech
    self-training                         everything, and one round of self-training

What the rows have in common (prepared and divided speech) is computed once and copied. Stopped, the same line goes on.
A way that cannot be had (adapters need a model whose norms come first) is named, and the others go on.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

WAYS = {
    "context": ("--way", "context", "--pretrain", "never"),
    "everything": ("--way", "everything", "--pretrain", "never"),
    "adapters": ("--way", "adapters", "--pretrain", "never"),
    "lora": ("--way", "lora", "--pretrain", "never"),
    "continued": ("--way", "everything", "--pretrain", "always"),
    "self-training": ("--way", "everything", "--pretrain", "never", "--self-training", "1"),
}
SHARED = ("prepare", "transcripts", "divide")
"""Stages whose folders depend on the speech alone."""


def adapt(options: argparse.Namespace, way: str, more: list[str]) -> str:
    """Run one way; returns why it failed, or ""."""
    out = options.out / way
    words = [options.speech, "--from", options.source, "--out", str(out), *WAYS[way], *more]
    if options.transcripts:
        words += ["--transcripts", options.transcripts]
    ran = subprocess.run([sys.executable, "-m", "wav2vec2", "adapt", *words], stdout=sys.stderr, check=False)
    return f"failed with status {ran.returncode}" if ran.returncode else ""


def share(first: Path, out: Path) -> None:
    """Copy the stages that all ways have in common from the first one's folder."""
    for stage in (path for name in SHARED for path in (first / "work").glob(f"{name}-*")):
        if not (out / "work" / stage.name).exists():
            shutil.copytree(stage, out / "work" / stage.name)


def cells(out: Path) -> list[str]:
    """Greedy and n-gram WER and CER on test."""
    reports = (out / "work").glob("evaluate-*/evaluation.json")
    report = max(reports, key=lambda path: path.stat().st_mtime)  # others are of earlier settings
    row = json.loads(report.read_text(encoding="utf-8"))["table"]["test"]
    found = []
    for column in row.values():
        for name in ("wer", "cer"):
            score = column[name]
            found.append(f"{100 * score['rate']:.1f} ({100 * score['low']:.1f} to {100 * score['high']:.1f})")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", help="recordings, as adapt takes them")
    parser.add_argument("--transcripts", default="", help="table or list of ids, as adapt takes it")
    parser.add_argument("--from", dest="source", required=True, help="the encoder")
    parser.add_argument("--out", type=Path, default=Path("runs/ways"))
    parser.add_argument("--ways", nargs="+", choices=sorted(WAYS), default=list(WAYS))
    options, more = parser.parse_known_args()
    print("| way | WER % | CER % | WER %, 4-gram | CER %, 4-gram |\n|---|---|---|---|---|")
    for way in options.ways:
        if way != options.ways[0]:
            share(options.out / options.ways[0], options.out / way)
        why = adapt(options, way, more)
        row = [why, "", "", ""] if why else cells(options.out / way)
        print(f"| {way} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
