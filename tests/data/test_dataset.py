from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from wav2vec2.audio.read import normalize_waveform
from wav2vec2.data.dataset import Row, UpdateLoader, fixed_batches, read_rows
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.sampler import BatchPlan, Position
from wav2vec2.data.utterance import Utterance, write_manifest
from wav2vec2.data.waveforms import DecodedAudio, read_utterance

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
    plan = BatchPlan(manifest.samples, batch_samples=16_000, max_samples=4_000, min_samples=1, seed=3)
    options: dict[str, object] = {"micro_samples": 8_000, "normalize": False, "workers": 0} | changes
    return UpdateLoader(manifest, plan, **options)  # type: ignore[arg-type]


def take(source: UpdateLoader, position: Position, count: int) -> list[object]:
    return [update for update, _ in zip(source.updates(position), range(count), strict=False)]


def test_micro_batches_are_padded_with_zeros_and_keep_their_rows(manifest: Manifest) -> None:
    rows = tuple(Row(manifest.utterance(i), 10 + i, 100, 1_000 + 300 * i) for i in (3, 0))
    batch = read_rows(rows, normalize=False)
    assert batch.waveforms.shape == (2, 1_900)
    assert batch.lengths.tolist() == [1_900, 1_000]
    assert batch.rows.tolist() == [13, 10]
    assert batch.ids == ("u3", "u0")
    assert batch.texts == ("t3", "t0")
    assert torch.equal(batch.waveforms[1, :1000], torch.from_numpy(WAVE[100:1100] / 8))
    assert not batch.waveforms[1, 1000:].any()


def test_normalisation_sees_the_whole_utterance_before_the_crop(manifest: Manifest) -> None:
    utterance = manifest.utterance(5)
    batch = read_rows((Row(utterance, 0, 500, 700),), normalize=True)
    expected = normalize_waveform(read_utterance(utterance))[500:1200]
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
    one = take(loader(manifest, micro_samples=16_000), Position(), 4)
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
            for batch in fixed_batches(manifest, 9_000, normalize=False, rank=rank, world=world, max_samples=5_000):
                seen |= dict(zip(batch.ids, batch.rows.tolist(), strict=True))
                assert batch.waveforms.shape[1] <= 5_000
        assert seen == {f"u{i}": i for i in range(8)}


def test_decoded_speech_in_memory_is_read_once_and_equals_the_files_to_16_bits(manifest: Manifest) -> None:
    decoded = DecodedAudio(manifest.samples)
    plain = take(loader(manifest), Position(), 6)
    kept = take(loader(manifest, decoded=decoded), Position(), 6)
    normalized = take(loader(manifest, decoded=decoded, normalize=True), Position(), 6)
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
