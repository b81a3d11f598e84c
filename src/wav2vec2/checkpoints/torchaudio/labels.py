"""The labels of torchaudio's fine-tuned bundles, which their files do not store, and the rows that the bundles drop."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BundleLabels:
    """``symbols`` follow the blank; ``stray`` is the row of a label that crept into VoxPopuli's training data."""

    symbols: tuple[str, ...]
    stray: int | None = None

    @property
    def dropped(self) -> tuple[int, ...]:
        """Rows of the file that the bundle leaves out: fairseq's three names that CTC never emits, and the stray."""
        return (1, 2, 3) if self.stray is None else (1, 2, 3, self.stray)

    @property
    def kept_rows(self) -> int:
        """Rows after that: the blank and the symbols."""
        return 1 + len(self.symbols)

    @property
    def file_rows(self) -> int:
        """Rows in the published file."""
        return self.kept_rows + len(self.dropped)


LIBRISPEECH = BundleLabels(tuple("|ETAONIHSRDLUMWCFGYPBVK'XJQZ"))
ALIGNMENT = BundleLabels(tuple("aienoutsrmkldghybpwcvjzf'qx"))
VOXPOPULI = {
    "de": BundleLabels(tuple("|enirstadhulgcmobwfkzpvüäöjßyxq"), 35),
    "en": BundleLabels(tuple("|etoiansrhldcumpfgwybvkxjqz"), 31),
    "es": BundleLabels(tuple("|eaosnrildctupmbqygvhófíájzñéxúkwü"), 35),
    "fr": BundleLabels(tuple("|esnitraouldcpmévqfgbhxàjèyêzôkçœûùîâwïëüæ")),
    "it": BundleLabels(tuple("|eiaontrlscdupmgvhzfbqàèùéòìkyxwjóíï")),
}
_LIBRISPEECH_FILES = ("asr_ll10m", "asr_ls100", "asr_ls960")
_BASE_SIZE = 768


def bundle_labels(
    file_stem: str, rows: int, *, layer_norm_extractor: bool, hidden_size: int
) -> tuple[BundleLabels | None, str]:
    """Return the labels that a head of so many rows has, with or without the dropped ones (None when none fits), and
    what they were told by.

    The published file's name decides where it says the data. Else the shapes do: VoxPopuli's bundles are of BASE's
    size with a group-norm extractor, the multilingual aligner has a layer-norm extractor, and 32 rows, which of BASE's
    size English and German VoxPopuli have too, are taken as LibriSpeech's.
    """
    named = any(mark in file_stem for mark in ("voxpopuli", *_LIBRISPEECH_FILES))
    if "voxpopuli" in file_stem:
        candidates = [labels for language, labels in VOXPOPULI.items() if file_stem.endswith(f"_{language}")]
    elif named:
        candidates = [LIBRISPEECH]
    elif layer_norm_extractor:
        candidates = [LIBRISPEECH, ALIGNMENT]
    else:
        candidates = [LIBRISPEECH, *(VOXPOPULI.values() if hidden_size == _BASE_SIZE else ())]
    fitting = [labels for labels in candidates if rows in (labels.kept_rows, labels.file_rows)]
    if not fitting:
        return None, ""
    if named:
        return fitting[0], "labels told by the file's name"
    others = f", as other bundles have ({len(fitting) - 1})" if len(fitting) > 1 else ""
    told = f"labels told by the {rows} rows of its head{others}; if they are others, name them by --vocabulary"
    return fitting[0], told
