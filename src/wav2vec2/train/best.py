"""The weights of the best validation: kept with the checkpoint that knows of them, or not at all.

They are written under a name of their own and become ``best`` once a checkpoint that knows of them is on the disk. So
a run that goes on from an older checkpoint never mistakes the weights of a lost future for its best ones.
"""

import copy
import json
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from torch import nn

from wav2vec2.errors import UserError, cause
from wav2vec2.input_file import parse_json, read_input
from wav2vec2.output_file import writing_together
from wav2vec2.train import distributed

MARK_FILE = "validation.json"
_CANDIDATE = re.compile(r"\.best-(\d+)")


class BestWeights:
    """The best weights of a run. All processes call each method together, except ``adopt``.

    Args:
        run: folder of the run.
        whole: the model with all its parameters on the main process, None on others; see ``Engine.whole``.
        export: writes a model directory.
    """

    def __init__(
        self, run: Path, whole: Callable[[], nn.Module | None], export: Callable[[nn.Module, Path], None]
    ) -> None:
        self._run, self._whole, self._export = run, whole, export
        self._main = distributed.place()[0] == 0
        self._unwritten: tuple[int, nn.Module] | None = None

    def keep(self, update: int) -> list[str]:
        """Write the model's weights as those of a validation after ``update``.

        If that fails (disk full), they are kept in memory for ``retry``. Returns a line that says so, or none.
        """
        self._unwritten = None
        whole = self._whole()
        failure = "" if whole is None else self._write(update, whole)
        if failure and whole is not None:
            self._unwritten = update, copy.deepcopy(whole)
        if failure := distributed.first_text(failure):
            kept = "they are kept in memory and tried again with the next checkpoint"
            return [f"the best weights, of update {update}, cannot be written ({failure}): free space; {kept}"]
        return []

    def retry(self) -> str:
        """Write weights that could not be written before; return why that fails again, or ""."""
        failure = ""
        if self._unwritten is not None and not (failure := self._write(*self._unwritten)):
            self._unwritten = None
        return distributed.first_text(failure)

    def adopt(self, update: int) -> None:
        """A checkpoint on the disk knows that the best validation is that after ``update``: call it ``best``."""
        candidate, best, old = self._candidate(update), self._run / "best", self._run / ".best-old"
        with suppress(OSError):  # tried again at the next checkpoint
            if self._main and candidate.exists():
                shutil.rmtree(old, ignore_errors=True)
                if best.exists():
                    best.rename(old)
                candidate.rename(best)
                shutil.rmtree(old, ignore_errors=True)
                self._drop(update)

    def settle(self, update: int) -> bool:
        """After loading a state whose best validation was after ``update``: whether its weights are there."""
        self._unwritten = None
        if self._main:
            self.adopt(update)
            self._drop(1 << 62)
        return self.chosen(update) is not None

    def chosen(self, update: int) -> Path | None:
        """Folder of the weights of the validation after ``update``; None if they are not there."""
        found: Path | None = None
        if self._main:
            best = self._run / "best"
            for place in (self._candidate(update), best):
                # Older versions wrote no mark, and one folder only.
                if place.exists() and _marked(place) in (update, None):
                    found = place
                    break
        answers: list[Path | None] = distributed.gather_objects(found)
        return answers[0]

    def _candidate(self, update: int) -> Path:
        return self._run / f".best-{update:09d}"

    def _drop(self, below: int) -> None:
        for path in self._run.glob(".best-*"):
            named = _CANDIDATE.fullmatch(path.name)
            if named is not None and int(named[1]) < below:
                shutil.rmtree(path, ignore_errors=True)

    def _write(self, update: int, whole: nn.Module) -> str:
        temporary, target = self._run / ".writing-best", self._candidate(update)
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            self._export(whole, temporary)
            (temporary / MARK_FILE).write_text(json.dumps({"update": update}) + "\n", encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
        except (OSError, UserError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            return cause(error)
        return ""


def copy_weights(best: Path, target: Path) -> None:
    """Copy a folder of best weights to ``target``, whole or not at all. Raises UserError if that cannot be done."""
    for folder in [path for path in best.iterdir() if path.is_dir()]:
        copy_weights(folder, target / folder.name)
    with writing_together(target, last="model.safetensors") as temporary:
        for file in best.iterdir():
            if file.is_file() and file.name != MARK_FILE:
                shutil.copyfile(file, temporary / file.name)


def _marked(folder: Path) -> int | None:
    """The update whose validation chose these weights; None if the folder does not say."""
    try:
        return int(parse_json(read_input(folder / MARK_FILE))["update"])
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None
