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
    "it": BundleLabels(tuple("|eiaonrtlscdupmgvhzfbqàèùéòìkyxwjóíï")),
}


def bundle_labels(file_stem: str, rows: int, layer_norm_extractor: bool) -> BundleLabels | None:
    """Return the labels that a head of so many rows has, with or without the dropped ones; None when none fits.

    The published file's name decides where it names a VoxPopuli language; else 32 rows are LibriSpeech's, as they lie
    in its files, and 28 rows are the multilingual aligner's with a layer-norm extractor, English VoxPopuli's without.
    """
    if "voxpopuli" in file_stem:
        candidates = [labels for language, labels in VOXPOPULI.items() if file_stem.endswith(f"_{language}")]
    else:
        candidates = [LIBRISPEECH, *([ALIGNMENT] if layer_norm_extractor else VOXPOPULI.values())]
    return next((labels for labels in candidates if rows in (labels.kept_rows, labels.file_rows)), None)
