"""Silence at the ends of utterances, drawn anew: what it sounds like, how long it is, and what batches make of it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2vec2.audio.pauses import frame_energies, speech_by_energy
from wav2vec2.data.batch_plan import BatchPlan
from wav2vec2.data.dataset import UpdateLoader
from wav2vec2.data.edges import EdgedPlan, Edges
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.sampler import Position
from wav2vec2.data.utterance import Utterance, write_manifest

RATE = 16_000
GIVEN = 0x100  # a salt of noise; one that 1024 divides gives digital silence at the beginning


def spoken(before: float, after: float, seconds: float = 1.0) -> np.ndarray:
    """A tone with a pause inside, between two silences, over white noise at -60 dB."""
    rng = np.random.default_rng(3)
    tone = 0.3 * np.sin(np.arange(round(seconds * RATE)) / 9)
    tone[len(tone) // 2 : len(tone) // 2 + 1600] = 0.0
    whole = np.concatenate([np.zeros(round(before * RATE)), tone, np.zeros(round(after * RATE))])
    return (whole + 1e-3 * rng.standard_normal(len(whole))).astype(np.float32)


def silences(waveform: np.ndarray) -> tuple[float, float]:
    speech = np.flatnonzero(np.abs(waveform) > 0.02)
    return speech[0] / RATE, (len(waveform) - 1 - speech[-1]) / RATE


@pytest.mark.parametrize("had", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("wanted", [0.0, 0.05, 0.3])
def test_each_end_gets_the_silence_that_was_drawn(had: float, wanted: float) -> None:
    samples = round(wanted * RATE)
    before, after = silences(Edges(samples, samples, GIVEN).of(spoken(had, had), "A"))
    assert before == pytest.approx(wanted, abs=0.016)  # a frame of 10 ms, and the beginning of its window
    assert after == pytest.approx(wanted, abs=0.026)
    had_before, had_after = silences(spoken(had, had))
    kept, _ = silences(Edges(-1, samples, GIVEN).of(spoken(had, had), "A"))
    assert kept == had_before
    _, kept = silences(Edges(samples, -1, GIVEN).of(spoken(had, had), "A"))
    assert kept == had_after


def test_made_silence_is_as_loud_as_the_quietest_of_the_utterance_and_of_its_colour() -> None:
    white = np.random.default_rng(1).standard_normal(20_000)
    low = np.convolve(white, np.full(8, 1e-3), mode="same").astype(np.float32)  # little of it above 2 kHz
    speech = low + spoken(0.0, 0.0, 1.25)
    made = Edges(8_000, -1, GIVEN).of(speech.astype(np.float32), "A")[:7_000]
    own = speech[10_000:11_600]
    assert 20 * np.log10(made.std() / own.std()) == pytest.approx(0.0, abs=3.0)
    power = np.abs(np.fft.rfft(made)) ** 2
    assert power[: len(power) // 4].sum() > 4 * power[len(power) // 4 :].sum()
    dead = Edges(8_000, -1, 0).of(speech.astype(np.float32), "A")[:7_000]
    assert not dead.any()


def test_what_is_said_keeps_its_samples_and_enough_of_them_for_its_letters() -> None:
    whole = spoken(0.2, 0.2)
    changed = Edges(800, 400, GIVEN).of(whole, "A")
    begin = int(np.flatnonzero(whole == changed[0])[0])
    assert np.array_equal(changed, whole[begin : begin + len(changed)])
    assert begin == pytest.approx(3_200 - 800, abs=250)
    assert len(Edges(0, 0, GIVEN).of(whole, "A" * 35)) == 35 * 640  # all of it, but 0
    assert np.array_equal(Edges(0, 0, GIVEN).of(whole, "A" * 100), whole)
    silent = np.zeros(5_000, np.float32)
    assert np.array_equal(Edges(0, 100, GIVEN).of(silent, ""), silent)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    rows = []
    for number in range(12):
        path = tmp_path / f"{number}.wav"
        samples = 4_000 + 800 * number
        soundfile.write(path, spoken(0.0, 0.0)[:samples], RATE, subtype="FLOAT")
        rows.append(Utterance(id=f"u{number}", path=str(path), samples=samples, text="T"))
    return Manifest.open(write_manifest(rows, tmp_path / "m.parquet"))


def plan(manifest: Manifest, buckets: int = 0) -> BatchPlan:
    return BatchPlan(
        manifest.samples,
        batch_samples=40_000,
        group_samples=20_000,
        max_samples=None,
        min_samples=1,
        seed=3,
        crop=False,
        buckets=buckets,
        multiple=1,
    )


def edged(manifest: Manifest, buckets: int = 0, share: float = 0.75, seed: int = 5) -> EdgedPlan:
    return EdgedPlan(plan(manifest, buckets), seed=seed, share=share, seconds=0.25, group_samples=20_000)


def test_edges_follow_from_seed_epoch_batch_and_utterance(manifest: Manifest) -> None:
    first, again = edged(manifest).batch(Position(2, 0)), edged(manifest).batch(Position(2, 0))
    assert first.edges == again.edges
    assert first.edges != edged(manifest, seed=6).batch(Position(2, 0)).edges
    drawn = {
        (int(utterance), one)
        for batch, _ in zip(edged(manifest).walk(Position()), range(40), strict=False)
        for utterance, one in zip(batch.utterances, batch.edges, strict=True)
    }
    ends = np.array([(one.before, one.after) for _, one in drawn])
    assert len(drawn) > 100  # no utterance has the same ones twice
    assert (ends >= 0).mean() == pytest.approx(0.75, abs=0.07)
    assert ends.max() <= 0.25 * RATE
    assert ends[ends >= 0].mean() == pytest.approx(0.125 * RATE, rel=0.12)
    assert abs(np.corrcoef(ends.T)[0, 1]) < 0.2


def test_utterances_and_updates_stay_those_of_the_plan(manifest: Manifest) -> None:
    for _, ours, own in zip(range(9), edged(manifest).walk(Position()), plan(manifest).walk(Position()), strict=False):
        assert np.array_equal(ours.utterances, own.utterances)
        assert ours.following == own.following


@pytest.mark.parametrize("buckets", [0, 3])
@pytest.mark.parametrize("epsilon", [None, 1e-5])
def test_rows_are_as_long_as_their_groups_allow(manifest: Manifest, buckets: int, epsilon: float | None) -> None:
    source = edged(manifest, buckets)
    loader = UpdateLoader(manifest, source, epsilon=epsilon, workers=0)
    longer = 0
    for _, update, batch in zip(range(8), loader.updates(Position()), source.walk(Position()), strict=False):
        assert sum(len(one.rows) for one in update.micro_batches) == len(batch.utterances)
        for one in update.micro_batches:
            assert one.waveforms.numel() <= 20_000 or len(one.rows) == 1
            if buckets:
                assert one.waveforms.shape[1] == batch.length
            rows = one.rows.tolist()
            longer += int((one.lengths.numpy() > batch.samples[rows]).sum())
            for length, row in zip(one.lengths.tolist(), rows, strict=True):
                assert length <= batch.samples[row] + batch.edges[row].most
    assert longer
    two = [UpdateLoader(manifest, source, epsilon=epsilon, workers=0, rank=rank, world=2) for rank in (0, 1)]
    lengths = []
    for one in (loader, *two):
        batches = next(one.updates(Position())).micro_batches
        lengths.append({row: n for b in batches for row, n in zip(b.rows.tolist(), b.lengths.tolist(), strict=True)})
    assert lengths[0] == lengths[1] | lengths[2]


def test_speech_is_where_the_detector_says(manifest: Manifest) -> None:
    longer = Edges(3_200, 3_200, GIVEN).of(spoken(0.0, 0.0), "T")
    marks = np.flatnonzero(speech_by_energy(frame_energies(longer)))
    assert (marks[0], marks[-1]) == pytest.approx((20, 119), abs=3)
