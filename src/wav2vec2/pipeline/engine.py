"""Runs a plan: skips what is done, goes on where it was stopped, marks what has ended."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wav2vec2.errors import UserError
from wav2vec2.pipeline.plan import Plan
from wav2vec2.pipeline.process import only_one, run_command
from wav2vec2.pipeline.stage import Argument, Stage


@dataclass
class Engine:
    """How stages are run. after: called with each stage that has just ended. minutes: ask the running stage to save and
    leave after so long; 0: no limit. keep_going: after a failure, run what does not depend on it.
    """

    plan: Plan
    launch: str = ""
    minutes: float = 0.0
    keep_going: bool = False
    after: Callable[[Stage], None] = lambda stage: None
    failed: dict[str, str] = field(default_factory=dict)

    def run(self, stages: Sequence[Stage]) -> None:
        """Run stages in order; those whose needs are not met are refused.

        Raises:
            UserError: a stage failed, or reads what is not there.
            KeyboardInterrupt: after Ctrl-C; the same call goes on.
        """
        deadline = time.monotonic() + 60 * self.minutes if self.minutes else None
        with only_one(self.plan.root) as lock:

            def start(words: Sequence[str]) -> None:
                run_command(words, launch=self.launch, deadline=deadline, inherit=lock)

            for number, stage in enumerate(stages, 1):
                if self.plan.done(stage.name) or self._blocked(stage):
                    continue
                print(f"\n== [{number}/{len(stages)}] {stage.name}: {stage.title}", flush=True)
                try:
                    self._run(stage, start)
                except UserError as error:
                    if not self.keep_going:
                        raise UserError(f"stage {stage.name}: {error}") from None
                    self.failed[stage.name] = str(error)
                    print(f"   failed: {error}", flush=True)
                    continue
                self.after(stage)
        if self.failed:
            raise UserError(f"failed: {', '.join(self.failed)}; the lines above say why; the same command tries again")

    def _blocked(self, stage: Stage) -> bool:
        missing = [name for name in stage.needs if not self.plan.done(name)]
        if not missing:
            return False
        if not self.keep_going:
            raise UserError(f"stage {stage.name} reads {', '.join(missing)}, not done yet: run those first")
        self.failed.setdefault(stage.name, f"reads {missing[0]}")
        return True

    def _run(self, stage: Stage, start: Callable[[Sequence[str]], None]) -> None:
        plan, began = self.plan, time.monotonic()
        folder = plan.folder(stage.name)
        for other in plan.earlier(stage.name):
            print(f"   its configuration has changed: runs anew; {other} is kept from before", flush=True)
        folder.mkdir(parents=True, exist_ok=True)

        def resolve(argument: Argument) -> object:
            return plan.resolve(argument, stage)

        print(f"   {stage.work.shown(resolve)}", flush=True)
        stage.work.run(resolve, folder, start)
        if not plan.result(stage.name).exists():
            raise UserError(f"{plan.result(stage.name)}: was not made; delete {folder} and run again")
        plan.mark(stage.name, time.monotonic() - began)
        print(f"   {time.monotonic() - began:.0f} s", flush=True)


def stage_folders(plan: Plan) -> list[Path]:
    """Folders of the plan's stages that exist."""
    return [plan.folder(stage.name) for stage in plan.stages if plan.folder(stage.name).is_dir()]
