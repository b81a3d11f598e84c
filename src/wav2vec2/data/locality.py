"""Rows dealt to the node that has read their file before, for network drives whose nodes cache what they read.

Every file has a home, one of the nodes. A group's rows are the same as without, and each rank gets as many, of similar
length; only who gets which changes. So batches, losses and gradients stay those of the plan. With 8 ranks on each of
many nodes about 86 % of the rows come home, and a node's cache needs room for its part of the corpus, not for all.
"""

import itertools
import zlib
from collections.abc import Sequence

import numpy as np

from wav2vec2.data.sampler import Integers


def homes(paths: Sequence[str], nodes: int) -> Integers:
    """Return the home (N,) of each file, a node below `nodes`: a hash of its path."""
    return np.asarray([zlib.crc32(path.encode("utf-8", "surrogatepass")) % nodes for path in paths], dtype=np.int64)


def deal_home(groups: Integers, home: Integers, rank: int, world: int, near: int) -> list[Integers]:
    """Return the rows that `rank` reads of each group, as `deal` does, but at home as far as that goes.

    Of `world` consecutive rows each rank gets one.

    Args:
        groups: (groups + 1,) see `GlobalBatch`.
        home: (rows,) node of each row.
        rank: the rank of this process.
        world: number of ranks, a multiple of `near`; ranks of a node follow each other.
        near: ranks of a node.
    """
    shares = []
    for low, high in itertools.pairwise(groups.tolist()):
        runs = [range(first, min(first + world, high)) for first in range(low, high, world)]
        shares.append(
            np.asarray(
                [run[int(_placed(home[run.start : run.stop], near)[rank])] for run in runs if rank < len(run)], np.int64
            )
        )
    return shares


def _placed(home: Integers, near: int) -> Integers:
    """For each of the first N ranks, the row of N that it gets; (N,)."""
    count = len(home)
    order = np.argsort(home, kind="stable")
    ordered = home[order]
    first = np.searchsorted(ordered, ordered)
    place = ordered * near + np.arange(count) - first
    fits = (np.arange(count) - first < near) & (place < count)
    taken = np.full(count, -1, dtype=np.int64)
    taken[place[fits]] = order[fits]
    taken[taken < 0] = np.sort(order[~fits])
    return taken
