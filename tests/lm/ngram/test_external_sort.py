from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2vec2.lm.ngram import external_sort
from wav2vec2.lm.ngram.external_sort import ExternalSort, whole_groups


@pytest.mark.parametrize("merged", [2, 64])
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3000), st.integers(1, 5), st.sampled_from([3, 50, 1 << 20, 2**31 - 1]), st.integers(0, 99))
def test_rows_come_sorted_and_summed(tmp_path_factory, merged, count, columns, largest, seed):
    rng = np.random.default_rng(seed)
    rows, values = rng.integers(0, largest, (count, columns)).astype(np.int32), rng.integers(1, 9, count)
    expected = Counter()
    for row, value in zip(map(tuple, rows.tolist()), values.tolist(), strict=True):
        expected[row] += value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(external_sort, "_RUNS_MERGED", merged)
        folder = tmp_path_factory.mktemp("sort")
        sort = ExternalSort(columns, np.int64, folder, "rows", memory=1)
        for first in range(0, count, 97):
            sort.add(rows[first : first + 97], values[first : first + 97])
        found = [(tuple(r), v) for words, sums in sort.blocks() for r, v in zip(words.tolist(), sums, strict=True)]
    assert found == sorted(expected.items())
    assert not list(folder.iterdir())


@pytest.mark.parametrize(("different", "spills"), [(10, 0), (128, 0), (129, 7), (256, 7)])
def test_rows_are_spilled_only_where_merging_equal_ones_leaves_memory_half_full(tmp_path, different, spills):
    told = []
    sort = ExternalSort(2, np.int64, tmp_path, "rows", memory=1, spilled=lambda: told.append(1))
    row = np.arange(256, dtype=np.int32) % different
    for _ in range(8):  # 256 rows are the least that memory holds
        sort.add(np.stack([row, row], axis=1), np.ones(256, np.int64))
    assert len(told) == len(list(tmp_path.iterdir())) == spills
    assert [sum(map(len, column)) for column in zip(*sort.blocks(), strict=True)] == [different, different]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=60), st.integers(1, 7))
def test_groups_are_never_parted(keys, size):
    rows = np.array([[key, place] for place, key in enumerate(sorted(keys))], np.int32).reshape(-1, 2)
    blocks = [(rows[i : i + size], np.arange(len(rows))[i : i + size]) for i in range(0, len(rows), size)]
    out = list(whole_groups(iter(blocks), 1))
    if keys:
        np.testing.assert_array_equal(np.concatenate([words for words, _ in out]), rows)
        np.testing.assert_array_equal(np.concatenate([values for _, values in out]), np.arange(len(rows)))
    groups = [set(words[:, 0].tolist()) for words, _ in out]
    assert sum(map(len, groups)) == len(set(keys))
