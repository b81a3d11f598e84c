"""Mixing corpora and languages of very different size: how often each utterance is used an epoch.

With H_g the hours of group g and T all hours, group g gets the share p_g = H_g^beta / sum_k H_k^beta of an epoch. This
is the rule of XLSR-53 (arXiv 2006.13979), XLS-R (arXiv 2111.09296) and MMS (arXiv 2305.13516), all with the exponent
0.5 for most models: 1 leaves the hours as they are, 0 gives every group the same. An epoch keeps T hours, so an
utterance of group g is used f_g = p_g T / H_g times in it: small groups are repeated, utterances of large groups wait
for a later epoch. MMS balances twice, languages within a corpus and then corpora: "source+language".

The rows of an epoch are a pure function of (seed, epoch). Each utterance has a phase u in [0, 1), a hash of the seed
and its row, and is used floor(f (e + 1) + u) - floor(f e + u) times in epoch e. So in any run of epochs it is used f
times each to within one use, and nothing has to be remembered to resume.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.sampler import Integers, scrambled

MixBy = Literal["none", "language", "source", "source+language"]

_MOST_LINES = 12
_OFTEN = 20.0
_NAMELESS = "(none)"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Groups:
    """The group of each row of a manifest, and the exponent by which groups are balanced.

    Groups have a parent, within which they are balanced first: with "source+language" the source.
    """

    codes: npt.NDArray[np.int32]
    """(rows,) index into ``names``."""
    names: Sequence[str]
    parents: Sequence[str]
    """The parent of each group; all the same if there is one level."""
    beta: float

    @classmethod
    def of(cls, manifest: Manifest, by: MixBy, beta: float) -> "Groups | None":
        """The groups of a manifest's rows; None for "none"."""
        if by == "none":
            return None
        columns = [_coded(manifest.column(name)) for name in by.split("+")]
        if len(columns) == 1:
            codes, names = columns[0]
            return cls(codes, names, [""] * len(names), beta)
        (outer, sources), (inner, languages) = columns
        pairs = outer.astype(np.int64) * len(languages) + inner
        found, codes64 = np.unique(pairs, return_inverse=True)
        parents = [sources[pair // len(languages)] for pair in found.tolist()]
        names = [f"{sources[pair // len(languages)]} {languages[pair % len(languages)]}" for pair in found.tolist()]
        return cls(codes64.astype(np.int32), names, parents, beta)


class Mixture:
    """How often each of some rows is used in an epoch.

    Args:
        groups: the groups of the manifest's rows.
        rows: (N,) the rows that are used at all.
        samples: (N,) what is heard of each.
        seed: of the phases.

    Attributes:
        hours: (groups,) hours of each group.
        shares: (groups,) share of each group in an epoch.
        factors: (groups,) uses of each utterance of a group an epoch.
    """

    def __init__(self, groups: Groups, rows: Integers, samples: Integers, seed: int) -> None:
        self._codes, self._seed, self.names = groups.codes, seed, groups.names
        heard = np.bincount(groups.codes[rows], weights=samples, minlength=len(groups.names))
        self.hours: Floats = heard / (SAMPLE_RATE * 3600)
        self.shares = balanced(self.hours, groups.parents, groups.beta)
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = self.shares * self.hours.sum() / self.hours
        # Rounded, so that a factor of one is one, and every utterance is used in every epoch.
        self.factors: Floats = np.round(np.where(self.hours > 0, factors, 0.0), 9).astype(np.float64)
        digest = hashlib.sha256(np.ascontiguousarray(groups.codes).data)
        digest.update(self.factors.tobytes())
        self.fingerprint = digest.hexdigest()
        """Hash of all that decides which rows an epoch has, but the seed."""

    def rows_of_epoch(self, epoch: int, rows: Integers) -> Integers:
        """Return each of the rows as often as the epoch uses it, in their order; at least one is used."""
        factor = self.factors[self._codes[rows]]
        phase = scrambled(rows, self._seed).astype(np.float64)
        phase *= 2.0**-64
        phase += factor * epoch
        uses = np.floor(phase + factor)
        uses -= np.floor(phase)
        return np.repeat(rows, uses.astype(np.int64))

    def lines(self) -> list[str]:
        """Lines for the console: hours and share of each group, the largest first."""
        order = np.argsort(-self.hours, kind="stable")
        order = order[self.hours[order] > 0]
        if len(order) < 2:
            return ["mixing: there is one group only, so nothing is balanced (data.mix)"]
        shown = order if len(order) <= _MOST_LINES else [*order[: _MOST_LINES - 3], *order[-2:]]
        lines = [f"mixing: {len(order)} groups (hours; share of them; share of an epoch; uses of an utterance)"]
        natural = self.hours / self.hours.sum()
        for number, group in enumerate(shown):
            if len(shown) < len(order) and number == len(shown) - 2:
                lines.append(f"  ... {len(order) - len(shown)} more")
            lines.append(
                f"  {self.names[group]}: {self.hours[group]:.2f} h  {natural[group]:.1%} -> {self.shares[group]:.1%}  "
                f"x {self.factors[group]:.3g}"
            )
        if (most := float(self.factors.max())) > _OFTEN:
            often = self.names[int(np.argmax(self.factors))]
            lines.append(f"  {often} is repeated {most:.0f} times an epoch: a larger data.mix_beta repeats it less")
        return lines


def balanced(hours: Floats, parents: Sequence[str], beta: float) -> Floats:
    """Share of each group in an epoch: groups balanced within their parent, and parents among each other."""
    names, codes = np.unique(np.asarray(parents), return_inverse=True)
    weights = np.where(hours > 0, np.power(hours, beta, where=hours > 0, out=np.zeros_like(hours)), 0.0)
    within = np.bincount(codes, weights=weights, minlength=len(names))
    total = np.bincount(codes, weights=hours, minlength=len(names))
    outer = np.where(total > 0, np.power(total, beta, where=total > 0, out=np.zeros_like(total)), 0.0)
    outer /= outer.sum()
    return np.divide(weights, within[codes], out=np.zeros_like(weights), where=within[codes] > 0) * outer[codes]


def told_apart(utterances: Integers, number: int) -> Integers:
    """Return numbers (N,) that differ for each use of an utterance in an epoch: in batch ``number``, and within it."""
    order = np.argsort(utterances, kind="stable")
    ordered = utterances[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    place = np.arange(len(ordered)) - np.repeat(first, np.diff(np.append(first, len(ordered))))
    use = np.empty_like(utterances)
    use[order] = place
    return utterances + (use << 32) + ((number & 0x3FFFFF) << 41)


def _coded(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int32], list[str]]:
    """Codes (rows,) and names of a column of texts; names are sorted, so that the order of the rows plays no part."""
    names = sorted(pc.unique(column).to_pylist())
    codes = [
        pc.index_in(chunk, value_set=pa.array(names, pa.string())).to_numpy(zero_copy_only=False)
        for chunk in column.chunks
    ]
    return np.concatenate(codes).astype(np.int32, copy=False), [name or _NAMELESS for name in names]
