"""Runs the stages of a plan: skips those that are done, resumes those that were stopped, and marks finished ones."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wav2vec2.errors import UserError
from wav2vec2.pipeline.plan import Plan
from wav2vec2.pipeline.process import locked, run_command
from wav2vec2.pipeline.stage import Argument, Stage, Start


@dataclass
class Engine:
    """Runs stages one after another.

    launch: launcher for training commands, such as "torchrun --nproc-per-node 8 -m wav2vec2"; empty: this Python.
    minutes: after this long, the running stage is asked to save and stop; 0: no limit. keep_going: after a failure, run
    the stages that do not depend on it. after: called with each stage that has just finished. failed: the reason why
    each failed stage failed, by its name.
    """

    plan: Plan
    launch: str = ""
    minutes: float = 0.0
    keep_going: bool = False
    after: Callable[[Stage], None] = lambda stage: None
    failed: dict[str, str] = field(default_factory=dict)

    def run(self, stages: Sequence[Stage]) -> None:
        """Run stages in order; a stage whose needs are not done is refused.

        Raises:
            UserError: a stage failed, or reads a stage that is not done.
            KeyboardInterrupt: after Ctrl-C; the same call resumes.
        """
        deadline = time.monotonic() + 60 * self.minutes if self.minutes else None
        with locked(self.plan.root) as lock:

            def start(words: Sequence[str], *, training: bool = False) -> None:
                run_command(words, launch=self.launch if training else "", deadline=deadline, inherit=lock)

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
            raise UserError(f"failed: {', '.join(self.failed)}; see the messages above; the same command tries again")

    def _blocked(self, stage: Stage) -> bool:
        missing = [name for name in stage.needs if not self.plan.done(name)]
        if not missing:
            return False
        if not self.keep_going:
            raise UserError(f"stage {stage.name} reads {', '.join(missing)}, which is not done: run that first")
        self.failed.setdefault(stage.name, f"reads {missing[0]}")
        return True

    def _run(self, stage: Stage, start: Start) -> None:
        plan, began = self.plan, time.monotonic()
        folder = plan.folder(stage.name)
        for other in plan.earlier(stage.name):
            why = "its settings, or what it reads, have changed, so it runs again"
            print(f"   {why}; the earlier results stay in {other}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)

        def resolve(argument: Argument) -> object:
            return plan.resolve(argument, stage)

        print(f"   {stage.work.shown(resolve)}", flush=True)
        stage.work.run(resolve, folder, start)
        if not plan.result(stage.name).exists():
            raise UserError(f"{plan.result(stage.name)}: was not written; delete {folder} and run again")
        plan.mark(stage.name, time.monotonic() - began)
        print(f"   {time.monotonic() - began:.0f} s", flush=True)
