import pytest

from wav2vec2.checkpoints.torchaudio import ALIGNMENT, LIBRISPEECH, VOXPOPULI, BundleLabels, bundle_labels

BASE = {"layer_norm_extractor": False, "hidden_size": 768}
LARGE = {"layer_norm_extractor": False, "hidden_size": 1024}
LV60K = {"layer_norm_extractor": True, "hidden_size": 1024}


@pytest.mark.parametrize(
    ("stem", "rows", "shape", "labels", "told"),
    [
        ("wav2vec2_fairseq_base_ls960_asr_ls100", 32, BASE, LIBRISPEECH, "from the file's name"),
        ("wav2vec2_fairseq_large_lv60k_asr_ll10m", 32, LV60K, LIBRISPEECH, "from the file's name"),
        ("wav2vec2_voxpopuli_base_10k_asr_en", 32, BASE, VOXPOPULI["en"], "from the file's name"),
        ("wav2vec2_voxpopuli_base_10k_asr_fr", 46, BASE, VOXPOPULI["fr"], "from the file's name"),
        # without a telling name: the shapes, and a word about other tables of as many rows
        ("model", 32, BASE, LIBRISPEECH, "of its head, which 2 other bundles have, too; if"),
        ("model", 32, LARGE, LIBRISPEECH, "from the 32 rows of its head; if they are wrong, give --vocabulary"),
        ("model", 29, BASE, LIBRISPEECH, "from the 29 rows of its head; if"),
        ("model", 28, LV60K, ALIGNMENT, "from the 28 rows of its head; if"),
        ("model", 28, BASE, VOXPOPULI["en"], "from the 28 rows of its head; if"),
        ("model", 28, LARGE, None, ""),
        ("wav2vec2_voxpopuli_base_10k_asr_en", 40, BASE, None, ""),
        ("model", 50, BASE, None, ""),
    ],
)
def test_labels_of_a_head(stem: str, rows: int, shape: dict, labels: BundleLabels | None, told: str) -> None:
    found, said = bundle_labels(stem, rows, **shape)
    assert found is labels
    assert told in said
    assert bool(said) == (labels is not None)


def test_rows_that_bundles_drop() -> None:
    assert (LIBRISPEECH.file_rows, LIBRISPEECH.kept_rows) == (32, 29)
    assert LIBRISPEECH.dropped == (1, 2, 3)
    assert VOXPOPULI["de"].dropped == (1, 2, 3, 35)
    # a head has as many rows as torchaudio 2.11 gives its bundle
    assert [VOXPOPULI[language].kept_rows for language in ("de", "en", "es", "fr", "it")] == [32, 28, 35, 43, 37]
