"""Fuzzing guided by coverage, with atheris, where it is installed."""

import random
import shutil
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from scripts.fuzz_mutations import mutated
from scripts.fuzz_targets import TARGETS


def instrumented(wanted: bool) -> AbstractContextManager[object]:
    """Let atheris count what the inputs reach in our code, which is imported while the seeds are read."""
    if not wanted:
        return nullcontext()
    import atheris

    return atheris.instrument_imports(include=["wav2vec2"])


def guided(name: str, seeds: Path, seconds: float, longest: float) -> None:
    """Let atheris choose the inputs of a target for a while, by what they reach in our code; it ends the process."""
    import atheris

    from wav2vec2.errors import UserError

    target = TARGETS[name]
    (good, *_) = sorted(file for file in (seeds / name).rglob("*") if file.is_file())
    whole = next(path for path in (seeds / name).iterdir() if good.is_relative_to(path))
    folder = Path(tempfile.mkdtemp())

    def one(content: bytes) -> None:
        place = folder / whole.name
        if whole.is_dir():
            shutil.copytree(whole, place, dirs_exist_ok=True)
        (folder / good.relative_to(whole.parent)).write_bytes(content)
        try:
            target.read(place)
        except UserError:
            return

    def change(content: bytes, most: int, seed: int) -> bytes:
        return mutated(content or good.read_bytes(), random.Random(seed), good.read_bytes())[:most]

    limit = f"-max_total_time={seconds:.0f}"
    atheris.Setup([sys.argv[0], limit, f"-timeout={longest:.0f}"], one, custom_mutator=change)
    atheris.Fuzz()
