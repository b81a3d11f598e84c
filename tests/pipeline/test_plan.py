import json
import shutil
from pathlib import Path

import pytest

from wav2vec2.errors import UserError
from wav2vec2.pipeline.engine import Engine
from wav2vec2.pipeline.plan import Plan
from wav2vec2.pipeline.stage import Command, File, Function, Here, Ref, Stage, Value, read_values, write_values

CALLS: list[str] = []


def add(folder: Path, *, numbers: str, more: float) -> None:
    """The sum of a file of numbers and one more."""
    CALLS.append(folder.name)
    total = sum(map(float, Path(numbers).read_text().split())) + more
    (folder / "sum.txt").write_text(f"{total}\n")
    write_values(folder, {"total": total})


def fail(folder: Path, *, why: str) -> None:
    raise UserError(why)


@pytest.fixture(autouse=True)
def _calls() -> None:
    CALLS.clear()


def plan_of(tmp_path: Path, more: float = 1.0, last: float = 5.0, **adopted: Path) -> Plan:
    """first -> second -> third, and a fourth that reads the first's number."""
    numbers = tmp_path / "numbers.txt"
    if not numbers.exists():
        numbers.write_text("1 2 3")
    first = Stage("first", Function(add, {"numbers": File(numbers), "more": more}), "sum.txt")
    second = Stage("second", Function(add, {"numbers": Ref("first"), "more": 10.0}), "sum.txt")
    third = Stage("third", Function(add, {"numbers": Ref("second"), "more": last}), "sum.txt")
    fourth = Stage("fourth", Function(add, {"numbers": Ref("second"), "more": Value("first", "total")}), "sum.txt")
    return Plan(tmp_path / "out", [first, second, third, fourth], adopted)


def run(plan: Plan, *goals: str, **options: object) -> list[str]:
    CALLS.clear()
    engine = Engine(plan, **options)
    engine.run(plan.needed(goals or ("third", "fourth")))
    return [name.rpartition("-")[0] for name in CALLS]


def test_runs_once_and_what_is_done_is_skipped(tmp_path):
    plan = plan_of(tmp_path)
    assert run(plan) == ["first", "second", "third", "fourth"]
    assert plan.result("third").read_text() == "22.0\n"
    assert plan.result("fourth").read_text() == "24.0\n"
    assert run(plan_of(tmp_path)) == []
    marker = json.loads((plan.folder("second") / "done.json").read_text())
    assert marker["identity"] == plan.identity("second")
    assert list(marker["needs"]) == ["first"]


def test_a_change_runs_that_stage_and_what_follows_from_it(tmp_path, capsys):
    run(plan_of(tmp_path))
    assert run(plan_of(tmp_path, last=6.0)) == ["third"]
    assert "its settings, or what it reads, have changed, so it runs again" in capsys.readouterr().out
    assert run(plan_of(tmp_path, more=2.0)) == ["first", "second", "third", "fourth"]
    assert run(plan_of(tmp_path)) == []  # undone: the old results are found again
    (tmp_path / "numbers.txt").write_text("1 2 4")
    assert run(plan_of(tmp_path)) == ["first", "second", "third", "fourth"]


def test_a_number_counts_once_it_is_known_and_not_what_else_its_stage_was_asked(tmp_path):
    def plan(numbers: str) -> Plan:
        (tmp_path / numbers.replace(" ", "-")).write_text(numbers)
        finder = Stage(
            "finder", Function(add, {"numbers": File(tmp_path / numbers.replace(" ", "-")), "more": 0}), "sum.txt"
        )
        (tmp_path / "own.txt").write_text("1")
        given = {"numbers": File(tmp_path / "own.txt"), "more": Value("finder", "total")}
        return Plan(tmp_path / "out", [finder, Stage("reader", Function(add, given), "sum.txt")])

    assert run(plan("1 2"), "reader") == ["finder", "reader"]
    assert run(plan("2 1"), "reader") == ["finder"]  # it finds the same
    assert run(plan("2 1"), "reader") == []
    assert run(plan("2 2"), "reader") == ["finder", "reader"]
    assert plan("2 2").result("reader").read_text() == "5.0\n"


def test_moving_the_folder_keeps_what_is_done(tmp_path):
    run(plan_of(tmp_path))
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    plan = plan_of(tmp_path)
    assert run(Plan(tmp_path / "elsewhere", plan.stages)) == []


def test_only_what_a_goal_needs_runs(tmp_path):
    assert run(plan_of(tmp_path), "second") == ["first", "second"]
    plan = plan_of(tmp_path)
    for path in plan.folder("first").iterdir():  # not needed any more: what reads it is done
        path.unlink()
    assert run(plan, "third") == ["third"]


def test_a_stopped_stage_is_not_done(tmp_path):
    plan = plan_of(tmp_path)
    plan.folder("first").mkdir(parents=True)
    (plan.folder("first") / "sum.txt").write_text("half")
    assert run(plan, "first") == ["first"]
    assert plan.result("first").read_text() == "7.0\n"


def test_an_adopted_result_takes_a_stages_place(tmp_path):
    theirs = tmp_path / "theirs.txt"
    theirs.write_text("100\n")
    plan = plan_of(tmp_path, second=theirs)
    assert run(plan, "third") == ["third"]
    assert plan.result("third").read_text() == "105.0\n"
    assert any("adopted" in line for line in plan.lines())
    (tmp_path / "run").mkdir()
    shutil.copy(theirs, tmp_path / "run" / "sum.txt")
    assert plan_of(tmp_path, second=tmp_path / "run").result("second") == tmp_path / "run" / "sum.txt"
    theirs.write_text("200\n")
    assert run(plan_of(tmp_path, second=theirs), "third") == ["third"]
    with pytest.raises(UserError, match="'total' of first is unknown because its result was adopted"):
        run(plan_of(tmp_path, first=theirs))
    with pytest.raises(UserError, match="no such stage"):
        plan_of(tmp_path, fifth=theirs)
    with pytest.raises(UserError, match="does not exist"):
        plan_of(tmp_path, first=tmp_path / "nothing")


def test_failures_are_told_and_others_go_on_where_that_is_asked_for(tmp_path, capsys):
    plan = plan_of(tmp_path)
    bad = Stage("bad", Function(fail, {"why": "no luck"}), "x")
    after = Stage("after", Function(add, {"numbers": Ref("bad"), "more": 1.0}), "sum.txt")
    whole = Plan(plan.root, [bad, after, *plan.stages])
    with pytest.raises(UserError, match=r"stage bad: no luck"):
        run(whole, "after", "third")
    with pytest.raises(UserError, match="failed: bad, after"):
        run(whole, "after", "third", keep_going=True)
    assert [name.rpartition("-")[0] for name in CALLS] == ["first", "second", "third"]
    nothing = Stage("nothing", Function(write_nothing, {}), "x")
    with pytest.raises(UserError, match="was not written"):
        run(Plan(plan.root, [nothing]), "nothing")


def write_nothing(folder: Path) -> None:
    """Ends well, without the result."""


def test_only_refuses_what_is_not_ready(tmp_path):
    plan = plan_of(tmp_path)
    with pytest.raises(UserError, match="reads second, which is not done"):
        Engine(plan).run(plan.matching(["thi*"]))
    with pytest.raises(UserError, match="--only fifth"):
        plan.matching(["fifth"])


def test_lines_show_commands_before_anything_is_known(tmp_path):
    words = ("evaluate", Ref("first"), "--weight", Value("first", "total"), "--out", Here("x y.json"))
    plan = plan_of(tmp_path)
    whole = Plan(plan.root, [*plan.stages, Stage("last", Command(words, ("--workers", "1")), "x y.json")])
    shown = list(whole.lines())[-1]
    assert "wav2vec2 evaluate" in shown
    assert "--weight '<total of first>'" in shown
    assert shown.endswith("x y.json' --workers 1")
    faster = Plan(plan.root, [*plan.stages, Stage("last", Command(words, ("--workers", "8")), "x y.json")])
    assert faster.identity("last") == whole.identity("last")


def test_values_of_a_folder_without_any(tmp_path):
    assert read_values(tmp_path) == {}
