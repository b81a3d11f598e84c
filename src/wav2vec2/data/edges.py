"""Utterances whose silence before and after the speech is drawn anew in every epoch, for training.

A recogniser that has only heard utterances which begin with their first word is thrown off by the noise before a word
in a recording, and one that has only heard half a second of silence there by its absence. So each end of an utterance
gets a silence of random length: what there is of it is cut, or more of it is made.

What is drawn is a function of (seed, epoch, batch, utterance). The lengths of a batch's groups allow for it.
"""

import dataclasses

import numpy as np

from wav2vec2.audio.pauses import HOP, WINDOW, frame_energies, speech_by_energy
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Waveform
from wav2vec2.data.sampler import GlobalBatch, Integers, Plan, Position, group_bounds, scramble

_SAMPLES_A_LETTER = 640
"""At least so many samples are left for a letter of the transcript, so that CTC can align it: two frames."""
_DEAD = 4  # one made silence in so many is digital, as some codecs and noise gates leave it
_BITS = np.uint64(11)  # of a hash; the others make a number in [0, 1)


@dataclasses.dataclass(frozen=True)
class Edges:
    """The silence that one row is to have at its ends, in samples; -1: as it is. salt: what its noise is drawn by."""

    before: int
    after: int
    salt: int

    @property
    def most(self) -> int:
        """The most samples by which the row grows."""
        return max(self.before, 0) + max(self.after, 0)

    def of(self, waveform: Waveform, text: str | None) -> Waveform:
        """Return an utterance (S,) with these edges; `text` is its transcript, for which enough is left."""
        energies = frame_energies(waveform)
        speech = np.flatnonzero(speech_by_energy(energies))
        if not len(speech):
            return waveform
        least = _SAMPLES_A_LETTER * len(text or "")
        # The window of a frame's energy is longer than a frame: speech begins and ends a frame later.
        has = int(speech[0] + 1) * HOP, max(0, len(waveform) - int(speech[-1] + 2) * HOP)
        grow_before, grow_after = (0 if w < 0 else w - h for w, h in zip((self.before, self.after), has, strict=True))
        room = max(0, len(waveform) - least)
        cut_before = min(max(0, -grow_before), room)
        cut_after = min(max(0, -grow_after), room - cut_before)
        kept = waveform[cut_before : len(waveform) - cut_after]
        quietest = int(np.argmin(energies[: max(1, len(energies) - 2)])) * HOP
        sample = waveform[quietest : quietest + WINDOW]
        return np.concatenate(
            [_noise(max(0, grow_before), sample, self.salt), kept, _noise(max(0, grow_after), sample, ~self.salt)]
        )


def _noise(samples: int, like: Waveform, salt: int) -> Waveform:
    """Noise with the spectrum of a quiet stretch, or digital silence; float32 (samples,)."""
    made = np.zeros(samples, np.float32)
    if not samples or (salt >> 8) % _DEAD == 0:
        return made
    # Not Generator.standard_normal, whose algorithm may change with numpy's version.
    white = np.random.Generator(np.random.PCG64(salt & 0xFFFFFFFF)).random(samples + WINDOW) - 0.5
    spectrum = np.fft.rfft(white)
    level = np.abs(np.fft.rfft(like.astype(np.float64))) / np.sqrt(len(like) / 12)
    places = np.linspace(0.0, len(level) - 1.0, len(spectrum))
    shaped = np.fft.irfft(spectrum * np.interp(places, np.arange(len(level)), level), samples + WINDOW)
    made[:] = shaped[WINDOW // 2 : WINDOW // 2 + samples]
    return made


class EdgedPlan(Plan):
    """The batches of a plan, with edges.

    Args:
        plan: which utterances each batch has; none of them is cropped.
        seed: of what is drawn.
        share: of the ends that are changed.
        seconds: the longest silence.
        group_samples: most samples, padding included, that all ranks together hold at a time.
    """

    def __init__(self, plan: Plan, *, seed: int, share: float, seconds: float, group_samples: int) -> None:
        self._plan, self._seed, self._share, self._group_samples = plan, seed, share, group_samples
        self._longest = round(seconds * SAMPLE_RATE)

    def batches(self, epoch: int) -> int:
        """Number of global batches in an epoch."""
        return self._plan.batches(epoch)

    def batch(self, position: Position) -> GlobalBatch:
        """Return the batch at a position. Where it has rows of a static length, silence fills at most these."""
        found = self._plan.batch(position)
        state = np.full(1, self._seed & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
        for number in (found.following.epoch, found.following.position):
            state = scramble(state ^ np.uint64(number))
        state = scramble(state ^ found.utterances.astype(np.uint64))
        wanted: list[Integers] = []
        for _ in range(2):
            state, chance = scramble(state), state
            length = (_share_of_one(state) * (self._longest + 1)).astype(np.int64)
            wanted.append(np.where(_share_of_one(chance) < self._share, length, -1))
            state = scramble(state)
        before, after = wanted
        if found.length is not None:
            room = found.length - found.samples
            before = np.minimum(before, room)
            after = np.minimum(after, room - np.maximum(before, 0))
        columns = before.tolist(), after.tolist(), (state >> _BITS).astype(np.int64).tolist()
        edges = tuple(Edges(*row) for row in zip(*columns, strict=True))
        groups = found.groups
        if found.length is None:
            groups = group_bounds(found.samples + np.array([one.most for one in edges]), self._group_samples)
        return dataclasses.replace(found, groups=groups, edges=edges)


def _share_of_one(hashes: "np.typing.NDArray[np.uint64]") -> "np.typing.NDArray[np.float64]":
    return (hashes >> _BITS).astype(np.float64) / 2.0**53
