"""A stage keeps the model of another one: its files are linked where the file system allows it."""

import os
import shutil
from pathlib import Path


def keep_model(source: Path, target: Path) -> None:
    """Copy a model directory in place of `target`; its files are linked where the file system allows it."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=_link)


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
