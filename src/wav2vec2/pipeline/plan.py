"""A plan: stages in order, what each needs, its identity and folder, and whether it is done.

A stage's identity is a hash of its arguments and of the identities of the stages that it reads; the name of its folder
ends in the first digits. A change to a recipe, a list of labels or a learning rate therefore gives that stage, and all
that depend on it, new folders beside the old ones. Nothing is overwritten, and once the change is undone, the old
results are used again.

A number that another stage finds counts as that number once it is known, whatever else that stage was asked: a stage
runs again when the number is another one. Until then the identity is a guess, by the stage that will find it.
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
from wav2vec2.errors import UserError, cause
from wav2vec2.input_file import parse_json, read_input
from wav2vec2.output_file import writing
from wav2vec2.pipeline.stage import VALUES_FILE, Argument, File, Here, Ref, Stage, Value, result_in

MARKER = "done.json"
GOAL = "score-"
_DIGITS = 8


@dataclass
class Plan:
    """Stages in the order in which they run.

    root: the folder that holds the stages' folders. adopted: results made elsewhere, by stage; each is a path to the
    result itself or to the folder of the run that made it.

    Raises UserError for an adopted stage that is not in the plan, or a path that does not exist.
    """

    root: Path
    stages: Sequence[Stage]
    adopted: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        assert len(set(names)) == len(names), "two stages have the same name"
        for position, stage in enumerate(self.stages):
            late = set(stage.needs) - set(names[:position])
            assert not late, f"{stage.name} reads {late}, which does not come before it"
        results: dict[str, Path] = {}
        for name, path in self.adopted.items():
            if name not in names:
                raise UserError(f"--adopt {name}: no such stage; --dry-run lists them")
            if not path.exists():
                raise UserError(f"{path}: does not exist; give an existing result for --adopt {name}")
            results[name] = result_in(path, self.by_name[name].result)
        self.adopted = results
        self._fingerprints: dict[Path, str] = {}
        self._identities: dict[str, str] = {}

    @cached_property
    def by_name(self) -> dict[str, Stage]:
        """Stages by name."""
        return {stage.name: stage for stage in self.stages}

    @property
    def goals(self) -> list[str]:
        """Names of the stages that score, in order; the other stages exist for these."""
        return [stage.name for stage in self.stages if stage.name.startswith(GOAL)]

    def identity(self, name: str) -> str:
        """The identity of a stage, as a hexadecimal hash."""
        if name not in self._identities:
            if name in self.adopted:
                content: Any = {"adopted": self._fingerprint(self.adopted[name])}
            else:
                stage = self.by_name[name]
                reads = (part for part in stage.work.arguments() if isinstance(part, Ref | Value))
                needs = {part.stage for part in reads if not self._known(part)}
                content = self.content(stage) | {"needs": {need: self.identity(need) for need in needs}}
            text = json.dumps(content, sort_keys=True, default=str)
            self._identities[name] = hashlib.sha256(text.encode()).hexdigest()
        return self._identities[name]

    def content(self, stage: Stage) -> dict[str, Any]:
        """The values that determine a stage's identity, apart from the stages that it reads."""
        return {"name": stage.name, "result": stage.result, "work": stage.work.identity(self._symbol)}

    def folder(self, name: str) -> Path:
        """The folder of a stage."""
        return self.root / f"{name}-{self.identity(name)[:_DIGITS]}"

    def result(self, name: str) -> Path:
        """The result of a stage, which others read."""
        return self.adopted.get(name) or self.folder(name) / self.by_name[name].result

    def done(self, name: str) -> bool:
        """Whether a stage has finished, or its result was adopted."""
        if name in self.adopted:
            return True
        marker = self.folder(name) / MARKER
        return marker.is_file() and self.result(name).exists()

    def state(self, name: str) -> str:
        """The state of a stage, to be printed: adopted, done or to do."""
        return "adopted" if name in self.adopted else "done" if self.done(name) else "to do"

    def mark(self, name: str, seconds: float) -> None:
        """Record that a stage has finished, with the values that determine its identity."""
        stage = self.by_name[name]
        content = self.content(stage) | {
            "identity": self.identity(name),
            "needs": {need: self.identity(need) for need in stage.needs},
            "seconds": round(seconds, 1),
        }
        with writing(self.folder(name) / MARKER) as temporary:
            Path(temporary).write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
        self._identities.clear()  # what it found may be part of others' identities

    def values(self, name: str) -> dict[str, Any]:
        """The values that a stage wrote to ``values.json``. Raises UserError if there are none."""
        path = self.folder(name) / VALUES_FILE
        try:
            found: dict[str, Any] = parse_json(read_input(path))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({cause(error)}); delete its folder and run again") from None
        return found

    def resolve(self, argument: Argument, stage: Stage, *, lenient: bool = False) -> Any:
        """Turn an argument of a stage into a path or a value.

        With ``lenient``, a value that is not known yet becomes a name in angle brackets.

        Raises UserError for a value of a stage whose result was adopted.
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
                f"stage {stage.name}: '{argument.key}' of {argument.stage} is unknown because its result was adopted; "
                "give the number itself (--learning-rates)"
            )
        if lenient and not self._known(argument):
            return f"<{argument.key} of {argument.stage}>"
        return self.values(argument.stage)[argument.key]

    def needed(self, goals: Iterable[str]) -> list[Stage]:
        """The stages that must run to reach ``goals``, in order; none that is done, or that only done stages read."""
        open_, wanted = list(goals), set()
        while open_:
            name = open_.pop()
            if name not in wanted and not self.done(name):
                wanted.add(name)
                open_ += self.by_name[name].needs
        return [stage for stage in self.stages if stage.name in wanted]

    def matching(self, patterns: Sequence[str]) -> list[Stage]:
        """The stages that match names or patterns such as ``finetune-1h-*``. Raises UserError if a pattern has none."""
        found = []
        for pattern in patterns:
            names = [stage.name for stage in self.stages if fnmatch(stage.name, pattern)]
            if not names:
                raise UserError(f"--only {pattern}: no such stage; --dry-run lists them")
            found += names
        return [stage for stage in self.stages if stage.name in found]

    def earlier(self, name: str) -> list[Path]:
        """Folders of this stage from runs with other settings."""
        own = self.folder(name)
        digits = "[0-9a-f]" * _DIGITS
        return sorted(path for path in self.root.glob(f"{name}-{digits}") if path != own)

    def lines(self) -> Iterator[str]:
        """Yield two lines for every stage: its state, and what it runs."""
        for number, stage in enumerate(self.stages, 1):
            yield f"[{number}/{len(self.stages)}] {stage.name} ({self.state(stage.name)}): {stage.title}"
            if stage.name in self.adopted:
                yield f"    {shlex.quote(str(self.adopted[stage.name]))}"
            else:
                yield f"    {stage.work.shown(lambda part, stage=stage: self.resolve(part, stage, lenient=True))}"

    def _reference(self, reference: Ref) -> Path:
        if not reference.file:
            return self.result(reference.stage)
        if reference.stage in self.adopted:  # a file next to the adopted result
            return self.adopted[reference.stage].parent / reference.file
        return self.folder(reference.stage) / reference.file

    def _symbol(self, argument: Argument) -> Any:
        if isinstance(argument, File):
            return f"file {self._fingerprint(argument.path)}"
        if isinstance(argument, Ref):
            return f"{argument.stage}/{argument.file}"
        if isinstance(argument, Value):
            found = self.values(argument.stage) if self._known(argument) else {}
            return found.get(argument.key, f"{argument.stage}:{argument.key}")
        return "here/" + argument.file if isinstance(argument, Here) else argument

    def _known(self, argument: Argument) -> bool:
        """Whether an argument is a value that its stage has found."""
        return isinstance(argument, Value) and argument.stage not in self.adopted and self.done(argument.stage)

    def _fingerprint(self, path: Path) -> str:
        if path not in self._fingerprints:
            self._fingerprints[path] = fingerprint(path)
        return self._fingerprints[path]
