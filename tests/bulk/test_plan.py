import numpy as np

from wav2vec2.bulk.plan import plan_tasks, share


def test_the_same_rows_give_the_same_tasks_of_whole_rows() -> None:
    lengths = np.random.default_rng(0).integers(1000, 400_000, 10_000)
    tasks = plan_tasks(lengths, 10.0)
    assert [task.first for task in tasks] == [0, *(task.last for task in tasks[:-1])]
    assert tasks[-1].last == len(lengths)
    assert sum(task.samples for task in tasks) == lengths.sum()
    wanted = 10 * 60 * 16_000
    assert all(wanted - 400_000 < task.samples < wanted + 400_000 for task in tasks[:-1])
    assert {task.number for part in (1, 2, 3) for task in share(tasks, part, 3)} == set(range(1, len(tasks) + 1))


def test_a_long_row_is_a_task_of_its_own_and_short_manifests_have_shorter_tasks() -> None:
    minute = 60 * 16_000
    assert [(t.first, t.last) for t in plan_tasks(np.array([minute, 300 * minute, minute]), 1.0)] == [
        (0, 1),
        (1, 2),
        (2, 3),
    ]
    assert len(plan_tasks(np.full(10 * 60, minute), None)) == 64  # ten hours
    assert len(plan_tasks(np.full(1000 * 60, minute), None)) == 1000
    assert len(plan_tasks(np.full(10, minute), None)) == 2
    assert plan_tasks(np.zeros(0, np.int64), None) == []
