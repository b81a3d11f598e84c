import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from wav2vec2.audio.normalize import normalize_waveform
from wav2vec2.data import dataset
from wav2vec2.data.batch_plan import BatchPlan
from wav2vec2.data.dataset import Row, UpdateLoader, fixed_batches, prepare_worker, read_rows
from wav2vec2.data.decoded_audio import DecodedAudio, audio_key
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.sampler import Position, deal
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.data.waveforms import read_utterance
from wav2vec2.errors import UserError

WAVE = (np.sin(np.arange(20_000) / 9) * 0.5).astype(np.float32)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    rows = []
    for number in range(8):
        path = tmp_path / f"{number}.wav"
        samples = 2_000 + 900 * number
        soundfile.write(path, WAVE[:samples] * (number + 1) / 8, 16_000, subtype="FLOAT")
        rows.append(Utterance(id=f"u{number}", path=str(path), samples=samples, text=f"t{number}"))
    return Manifest.open(write_manifest(rows, tmp_path / "m.parquet"))


def loader(manifest: Manifest, **changes: object) -> UpdateLoader:
    together = changes.pop("group_samples", 8_000)
    plan = BatchPlan(
        manifest.samples, batch_samples=16_000, group_samples=together, max_samples=4_000, min_samples=1, seed=3
    )
    options: dict[str, object] = {"epsilon": None, "workers": 0} | changes
    return UpdateLoader(manifest, plan, **options)  # type: ignore[arg-type]


def take(source: UpdateLoader, position: Position, count: int) -> list[object]:
    return [update for update, _ in zip(source.updates(position), range(count), strict=False)]


def test_micro_batches_are_padded_with_zeros_and_keep_their_rows(manifest: Manifest) -> None:
    rows = tuple(Row(manifest.utterance(i), 10 + i, 100, 1_000 + 300 * i) for i in (3, 0))
    batch = read_rows(rows, epsilon=None)
    assert batch.waveforms.shape == (2, 1_900)
    assert batch.lengths.tolist() == [1_900, 1_000]
    assert batch.rows.tolist() == [13, 10]
    assert batch.ids == ("u3", "u0")
    assert batch.texts == ("t3", "t0")
    assert torch.equal(batch.waveforms[1, :1000], torch.from_numpy(WAVE[100:1100] / 8))
    assert not batch.waveforms[1, 1000:].any()


def test_normalisation_sees_the_whole_utterance_before_the_crop(manifest: Manifest) -> None:
    utterance = manifest.utterance(5)
    batch = read_rows((Row(utterance, 0, 500, 700),), epsilon=1e-7)
    expected = normalize_waveform(read_utterance(utterance), 1e-7)[500:1200]
    assert np.array_equal(batch.waveforms[0].numpy(), expected)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_give_what_the_main_process_gives(manifest: Manifest, workers: int) -> None:
    alone = take(loader(manifest), Position(), 5)
    helped = take(loader(manifest, workers=workers), Position(), 5)
    for a, b in zip(alone, helped, strict=True):
        assert a.following == b.following
        assert [m.ids for m in a.micro_batches] == [m.ids for m in b.micro_batches]
        assert all(torch.equal(x.waveforms, y.waveforms) for x, y in zip(a.micro_batches, b.micro_batches, strict=True))


def test_loading_from_a_position_continues(manifest: Manifest) -> None:
    whole = take(loader(manifest), Position(), 6)
    rest = take(loader(manifest), whole[2].following, 3)
    assert [[m.ids for m in u.micro_batches] for u in whole[3:]] == [[m.ids for m in u.micro_batches] for u in rest]


def test_two_ranks_read_the_batch_of_one(manifest: Manifest) -> None:
    one = take(loader(manifest, group_samples=16_000), Position(), 4)
    two = [take(loader(manifest, rank=rank, world=2), Position(), 4) for rank in range(2)]
    for number, update in enumerate(one):
        rows = {int(r): i for m in update.micro_batches for r, i in zip(m.rows, m.ids, strict=True)}
        dealt = {
            int(r): i for rank in two for m in rank[number].micro_batches for r, i in zip(m.rows, m.ids, strict=True)
        }
        assert rows == dealt
        assert len(two[0][number].micro_batches) == len(two[1][number].micro_batches)


def test_a_bad_file_leaves_its_row_and_nothing_else(manifest: Manifest) -> None:
    good = take(loader(manifest), Position(), 4)
    Path(manifest.utterance(4).path).write_bytes(b"not audio")
    bad = take(loader(manifest), Position(), 4)
    named = [line for update in bad for m in update.micro_batches for line in m.bad]
    assert named
    assert all(line.startswith("u4: ") and "4.wav" in line for line in named)
    for a, b in zip(good, bad, strict=True):
        for x, y in zip(a.micro_batches, b.micro_batches, strict=True):
            expected = [(i, int(r)) for i, r in zip(x.ids, x.rows, strict=True) if i != "u4"]
            assert [(i, int(r)) for i, r in zip(y.ids, y.rows, strict=True)] == expected


def test_validation_reads_everything_once_with_the_manifests_rows(manifest: Manifest) -> None:
    for world in (1, 3):
        seen = {}
        for rank in range(world):
            for batch in fixed_batches(manifest, 9_000, epsilon=None, rank=rank, world=world, max_samples=5_000):
                seen |= dict(zip(batch.ids, batch.rows.tolist(), strict=True))
                assert batch.waveforms.shape[1] <= 5_000
        assert seen == {f"u{i}": i for i in range(8)}


def test_decoded_speech_in_memory_is_read_once_and_equals_the_files_to_16_bits(manifest: Manifest) -> None:
    decoded = DecodedAudio(manifest.samples, audio_key(manifest))
    plain = take(loader(manifest), Position(), 6)
    kept = take(loader(manifest, decoded=decoded), Position(), 6)
    normalized = take(loader(manifest, decoded=decoded, epsilon=1e-7), Position(), 6)
    for reference, update, scaled in zip(plain, kept, normalized, strict=True):
        for a, b, c in zip(reference.micro_batches, update.micro_batches, scaled.micro_batches, strict=True):  # type: ignore[attr-defined]
            assert torch.equal(a.rows, b.rows)
            assert torch.equal(a.rows, c.rows)
            torch.testing.assert_close(b.waveforms, a.waveforms, rtol=0, atol=1 / 65_536)
            assert float(c.waveforms.abs().max()) > 1
    for row in manifest:
        Path(row.path).unlink()
    again = take(loader(manifest, decoded=decoded, workers=2), Position(), 6)
    for update, other in zip(kept, again, strict=True):
        for b, d in zip(update.micro_batches, other.micro_batches, strict=True):  # type: ignore[attr-defined]
            assert torch.equal(b.waveforms, d.waveforms)
            assert not d.bad


def test_a_crop_is_cut_out_of_its_utterance(tmp_path: Path) -> None:
    """`start` counts from the utterance's beginning, not the file's; with and without normalisation and memory."""
    path = tmp_path / "long.wav"
    soundfile.write(path, WAVE, 16_000, subtype="FLOAT")
    utterances = [
        Utterance("a", str(path), start=1_000, samples=4_000),
        Utterance("b", str(path), start=50, samples=90),
    ]
    decoded = DecodedAudio(np.array([4_000, 90]), f"crops-{os.getpid()}")
    rows = (Row(utterances[0], 5, 300, 700, 0), Row(utterances[1], 2, 20, 60, 1))
    plain = read_rows(rows, epsilon=None)
    assert plain.lengths.tolist() == [700, 60]
    assert np.array_equal(plain.waveforms[0].numpy(), WAVE[1_300:2_000])
    assert np.array_equal(plain.waveforms[1, :60].numpy(), WAVE[70:130])
    kept = read_rows(rows, epsilon=None, decoded=decoded)
    torch.testing.assert_close(kept.waveforms, plain.waveforms, rtol=0, atol=1 / 65_536)
    scaled = read_rows(rows, epsilon=1e-7)
    assert np.array_equal(scaled.waveforms[1, :60].numpy(), normalize_waveform(WAVE[50:140], 1e-7)[20:80])
    torch.testing.assert_close(
        read_rows(rows, epsilon=1e-7, decoded=decoded).waveforms, scaled.waveforms, rtol=0, atol=1e-3
    )
    assert read_rows((), epsilon=None).waveforms.shape == (0, 0)


def test_a_micro_batch_counts_its_seconds_and_moves_to_a_device(manifest: Manifest) -> None:
    rows = tuple(Row(manifest.utterance(i), i, 0, length) for i, length in ((3, 1_600), (1, 800)))
    batch = read_rows(rows, epsilon=None)
    assert float(batch.amount) == pytest.approx(0.15)
    assert batch.padded_amount == pytest.approx(0.2)
    moved = batch.to(torch.device("cpu"), torch.bfloat16)
    assert (moved.waveforms.dtype, moved.lengths.dtype, moved.rows.dtype) == (torch.bfloat16, torch.int64, torch.int64)
    assert (moved.ids, moved.texts, moved.rows.tolist()) == (batch.ids, batch.texts, [3, 1])
    assert batch.to(torch.device("cpu")).waveforms.dtype == torch.float32


def test_updates_read_the_plan_row_by_row(manifest: Manifest) -> None:
    source = loader(manifest)
    updates = take(source, Position(1, 0), 5)
    for update, batch in zip(updates, source.plan.walk(Position(1, 0)), strict=False):
        micro = update.micro_batches  # type: ignore[attr-defined]
        assert update.following == batch.following  # type: ignore[attr-defined]
        rows = [int(row) for part in micro for row in part.rows]
        assert sorted(rows) == list(range(len(batch.utterances)))
        assert [name for part in micro for name in part.ids] == [f"u{batch.utterances[row]}" for row in rows]
        for part in micro:
            assert part.lengths.tolist() == [int(batch.samples[row]) for row in part.rows]
            assert part.waveforms.numel() <= 8_000
            for index, row in enumerate(part.rows.tolist()):
                number, start, length = (int(each[row]) for each in (batch.utterances, batch.starts, batch.samples))
                expected = WAVE[start : start + length] * (number + 1) / 8
                np.testing.assert_array_equal(part.waveforms[index, :length].numpy(), expected)
        assert len(micro) == len(deal(batch.groups, 0, 1)) == len(batch.groups) - 1


def test_validation_batches_go_from_long_to_short_and_are_as_large_as_fits(manifest: Manifest) -> None:
    batches = list(fixed_batches(manifest, 16_000, epsilon=None))
    lengths = [length for batch in batches for length in batch.lengths.tolist()]
    assert lengths == sorted(manifest.samples.tolist(), reverse=True)
    assert [len(batch.ids) for batch in batches] == [1, 2, 2, 3]  # 8300 | 7400 6500 | 5600 4700 | 3800 2900 2000
    assert all(
        torch.equal(b.waveforms[0], torch.from_numpy(WAVE[: b.lengths[0]]) * (b.rows[0] + 1) / 8) for b in batches
    )
    cut = list(fixed_batches(manifest, 16_000, epsilon=None, max_samples=4_000))
    assert [length for batch in cut for length in batch.lengths.tolist()] == [4_000] * 5 + [3_800, 2_900, 2_000]
    assert [len(batch.ids) for batch in cut] == [4, 4]
    assert [batch.ids for batch in fixed_batches(manifest, 1, epsilon=None, rank=1, world=3)] == [
        ("u6",),
        ("u3",),
        ("u0",),
    ]


def test_a_reader_that_is_killed_is_one_line(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(message: str) -> object:
        def iterate(_: object) -> object:
            raise RuntimeError(message)

        return iterate

    killed = "DataLoader worker (pid 7) is killed by signal"
    monkeypatch.setattr(torch.utils.data.DataLoader, "__iter__", failing(killed))
    with pytest.raises(UserError, match=r"died.*killed by signal.*lower batch\.workers or batch\.prefetch"):
        take(loader(manifest), Position(), 1)
    monkeypatch.setattr(torch.utils.data.DataLoader, "__iter__", failing("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        take(loader(manifest), Position(), 1)


def test_a_worker_has_one_thread_and_leaves_signals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    kept = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    torch.set_num_threads(2)
    try:
        prepare_worker(0)
        assert torch.get_num_threads() == 1
        assert os.environ["OMP_NUM_THREADS"] == "1"
        assert [signal.getsignal(number) for number, _ in kept] == [signal.SIG_IGN, signal.SIG_IGN]
    finally:
        torch.set_num_threads(threads)
        for number, handler in kept:
            signal.signal(number, handler)


def test_rows_read_at_home_are_those_of_the_plan(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    order = [row.path for row in manifest]
    monkeypatch.setattr(dataset, "homes", lambda paths, nodes: np.asarray([order.index(path) // 4 for path in paths]))

    def rows(near: int, rank: int) -> list[list[int]]:
        requests = loader(manifest, rank=rank, world=2, near=near).requests(Position())
        return [[row.index for row in next(requests).rows] for _ in range(9)]

    plain, home = ([rows(near, rank) for rank in range(2)] for near in (0, 1))
    assert plain != home
    for number in range(9):
        assert sorted(plain[0][number] + plain[1][number]) == sorted(home[0][number] + home[1][number])
        assert [len(p[number]) for p in plain] == [len(p[number]) for p in home]
    assert plain[0] == rows(2, 0)  # one node
