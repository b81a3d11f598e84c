"""The options that both benchmarks have, and their one way out: a UserError is one line and status 2."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from wav2vec2.errors import UserError
from wav2vec2.model.architecture import ARCHITECTURES


def comparison_parser(description: str | None, *, split: str, rounds: int) -> argparse.ArgumentParser:
    """A parser of what both benchmarks take; ``split`` and ``rounds`` are its defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, help="folder with speech; default: WAV2VEC2_SHARED/speech")
    parser.add_argument("--split", default=split, help="split of its manifest.tsv, or sub-folder")
    parser.add_argument("--models", nargs="+", default=["base", "small"], choices=sorted(ARCHITECTURES))
    parser.add_argument("--allocators", nargs="+", default=["default", "mallopt"], choices=["default", "mallopt"])
    parser.add_argument("--rounds", type=int, default=rounds, help="measured batches")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--profile", action="store_true", help="print each side's costliest operations instead")
    parser.add_argument("--json", type=Path, help="write everything measured here")
    return parser


def run(main: Callable[[], None]) -> None:
    """Call ``main``; what the user can mend becomes one line and exit status 2."""
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
