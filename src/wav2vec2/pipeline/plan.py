"""An ordered list of stages: who needs whom, each one's identity and folder, and which are done.

A stage's folder carries the first digits of its identity, a hash over what the stage is given and over the identities
of the stages that it reads. So a change of a recipe, a list of labels or a learning rate gives that stage and all
that follow from it new folders, beside the old ones: nothing is ever overwritten, and undoing the change finds the
old results again.
"""

import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

from wav2vec2.decode.presets import fingerprint
from wav2vec2.errors import UserError
from wav2vec2.output_file import writing
from wav2vec2.pipeline.stage import VALUES_FILE, Argument, File, Here, Ref, Stage, Value, made_in

MARKER = "done.json"
GOAL = "score-"
_DIGITS = 8


@dataclass(frozen=True)
class Adopted:
    """A result that was made elsewhere, in place of a stage's own."""

    path: Path


@dataclass
class Plan:
    """Stages in the order in which they run, below the folder ``root``; ``adopted``: results made elsewhere, by stage
    (or the folder of the run that made them).

    Raises UserError for an adopted stage that is not in the plan, or a path that is not there.
    """

    root: Path
    stages: Sequence[Stage]
    adopted: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        assert len(set(names)) == len(names), "two stages of one name"
        for position, stage in enumerate(self.stages):
            late = set(stage.needs) - set(names[:position])
            assert not late, f"{stage.name} reads {late}, which does not come before it"
        results: dict[str, Path] = {}
        for name, path in self.adopted.items():
            if name not in names:
                raise UserError(f"--adopt {name}: no such stage; --dry-run lists them")
            if not path.exists():
                raise UserError(f"{path}: does not exist, so stage {name} cannot adopt it")
            results[name] = made_in(path, self.by_name[name].result)
        self.adopted = results
        self._prints: dict[Path, str] = {}

    @cached_property
    def by_name(self) -> dict[str, Stage]:
        """Stages by name."""
        return {stage.name: stage for stage in self.stages}

    @property
    def goals(self) -> list[str]:
        """The stages that are wanted for their own sake, in order: those that score."""
        return [stage.name for stage in self.stages if stage.name.startswith(GOAL)]

    @cached_property
    def identities(self) -> dict[str, str]:
        """Every stage's hash."""
        found: dict[str, str] = {}
        for stage in self.stages:
            if stage.name in self.adopted:
                content: Any = {"adopted": self._print(self.adopted[stage.name])}
            else:
                content = self.content(stage) | {"needs": {name: found[name] for name in stage.needs}}
            text = json.dumps(content, sort_keys=True, default=str)
            found[stage.name] = hashlib.sha256(text.encode()).hexdigest()
        return found

    def content(self, stage: Stage) -> dict[str, Any]:
        """What a stage's identity is made of, but for the stages that it reads."""
        return {"name": stage.name, "result": stage.result, "work": stage.work.identity(self._symbol)}

    def folder(self, name: str) -> Path:
        """Where a stage works."""
        return self.root / f"{name}-{self.identities[name][:_DIGITS]}"

    def result(self, name: str) -> Path:
        """What others read of a stage."""
        return self.adopted.get(name) or self.folder(name) / self.by_name[name].result

    def done(self, name: str) -> bool:
        """Whether a stage has ended, or its result was made elsewhere."""
        if name in self.adopted:
            return True
        marker = self.folder(name) / MARKER
        return marker.is_file() and self.result(name).exists()

    def mark(self, name: str, seconds: float) -> None:
        """Write down that a stage has ended, with what it was given."""
        stage = self.by_name[name]
        content = self.content(stage) | {
            "identity": self.identities[name],
            "needs": {need: self.identities[need] for need in stage.needs},
            "seconds": round(seconds, 1),
        }
        with writing(self.folder(name) / MARKER) as temporary:
            Path(temporary).write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")

    def values(self, name: str) -> dict[str, Any]:
        """What a stage found, where it wrote numbers down."""
        path = self.folder(name) / VALUES_FILE
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}): delete its folder and run again") from None
        return found

    def resolve(self, argument: Argument, stage: Stage, *, lenient: bool = False) -> Any:
        """A reference or file as a path, everything else as it is. ``lenient``: a value that is not known yet becomes
        a name in angle brackets.

        Raises UserError for a value that nobody has found.
        """
        if isinstance(argument, Ref):
            return str(self._reference(argument))
        if isinstance(argument, Here):
            return str(self.folder(stage.name) / argument.file)
        if isinstance(argument, File):
            return str(argument.path)
        if not isinstance(argument, Value):
            return argument
        if argument.stage in self.adopted and not lenient:
            raise UserError(
                f"stage {stage.name}: '{argument.key}' of {argument.stage} is unknown, since its result was adopted: "
                "give that number itself (--learning-rates)"
            )
        if lenient and (argument.stage in self.adopted or not self.done(argument.stage)):
            return f"<{argument.key} of {argument.stage}>"
        return self.values(argument.stage)[argument.key]

    def needed(self, goals: Iterable[str]) -> list[Stage]:
        """What has to run for ``goals``, in order: nothing that is done, and nothing that only a done stage reads."""
        open_, wanted = list(goals), set()
        while open_:
            name = open_.pop()
            if name not in wanted and not self.done(name):
                wanted.add(name)
                open_ += self.by_name[name].needs
        return [stage for stage in self.stages if stage.name in wanted]

    def matching(self, patterns: Sequence[str]) -> list[Stage]:
        """The stages that a name or a pattern such as ``finetune-1h-*`` names; raises UserError if none does."""
        found = []
        for pattern in patterns:
            names = [stage.name for stage in self.stages if fnmatch(stage.name, pattern)]
            if not names:
                raise UserError(f"--only {pattern}: no such stage; --dry-run lists them")
            found += names
        return [stage for stage in self.stages if stage.name in found]

    def earlier(self, name: str) -> list[Path]:
        """Folders that a stage of this name has from other configurations."""
        own = self.folder(name)
        digits = "[0-9a-f]" * _DIGITS
        return sorted(path for path in self.root.glob(f"{name}-{digits}") if path != own)

    def lines(self) -> Iterator[str]:
        """Every stage with its state and what it runs."""
        for number, stage in enumerate(self.stages, 1):
            state = "adopted" if stage.name in self.adopted else "done" if self.done(stage.name) else "to do"
            yield f"[{number}/{len(self.stages)}] {stage.name} ({state}): {stage.title}"
            if stage.name in self.adopted:
                yield f"    {shlex.quote(str(self.adopted[stage.name]))}"
            else:
                yield f"    {stage.work.shown(lambda part, stage=stage: self.resolve(part, stage, lenient=True))}"

    def _reference(self, reference: Ref) -> Path:
        if not reference.file:
            return self.result(reference.stage)
        if reference.stage in self.adopted:  # a file beside the adopted result
            return self.adopted[reference.stage].parent / reference.file
        return self.folder(reference.stage) / reference.file

    def _symbol(self, argument: Argument) -> Any:
        if isinstance(argument, File):
            return f"file {self._print(argument.path)}"
        if isinstance(argument, Ref):
            return f"{argument.stage}/{argument.file}"
        if isinstance(argument, Value):
            return f"{argument.stage}:{argument.key}"
        return "here/" + argument.file if isinstance(argument, Here) else argument

    def _print(self, path: Path) -> str:
        if path not in self._prints:
            self._prints[path] = fingerprint(path)
        return self._prints[path]
