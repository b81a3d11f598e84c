"""Where the public corpora lie, and what their archives' checksums are.

LibriSpeech: the MD5s of OpenSLR's md5sum.txt. Libri-light: those of its README; the limited sets: the SHA-256 that
torchaudio checks. MLS and FLEURS: asked of the server. TIMIT and Common Voice are given out under terms that everybody
accepts for himself: there is nothing here to fetch.
"""

from collections.abc import Iterable, Sequence

from wav2vec2.data.corpora.download import Archive
from wav2vec2.errors import UserError

LIBRISPEECH_URL = "https://www.openslr.org/resources/12"
LIBRISPEECH_MD5 = {
    "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "32fa31d27d2e1cad72775fee3f4849a9",
    "test-other": "fb5a50374b501bb3bac4815ee91d3135",
    "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
}

LIBRILIGHT_URL = "https://dl.fbaipublicfiles.com/librilight/data"
LIBRILIGHT_MD5 = {
    "small": "c49207eb86a8e8ac895561c37232041e",
    "medium": "c75e7ac62471bfbf2db77528d62a9b74",
    "large": "4dfbac018f50b99797ece101fc9f0c30",
}
LIMITED_SHA256 = {"librispeech_finetuning": "5d1efdc777b548194d7e09ba89126e2188026df9fd57aa57eb14408d2b2342af"}

MLS_URL = "https://dl.fbaipublicfiles.com/mls"
MLS_LANGUAGES = {
    "dutch": "nl", "english": "en", "french": "fr", "german": "de", "italian": "it", "polish": "pl",
    "portuguese": "pt", "spanish": "es",
}  # fmt: skip

FLEURS_URL = "https://storage.googleapis.com/xtreme_translations/FLEURS102"


def librispeech_archives(names: str, base_url: str = LIBRISPEECH_URL) -> list[Archive]:
    """Parts of LibriSpeech (comma-separated, or "all"). Raises UserError for an unknown one."""
    return [
        Archive(f"{name}.tar.gz", f"{base_url.rstrip('/')}/{name}.tar.gz", LIBRISPEECH_MD5[name], top="LibriSpeech")
        for name in _chosen(names, LIBRISPEECH_MD5, "part of LibriSpeech")
    ]


def librilight_archives(names: str, base_url: str = LIBRILIGHT_URL) -> list[Archive]:
    """Subsets of Libri-light (comma-separated, or "all"). Raises UserError for an unknown one."""
    return [
        Archive(f"{name}.tar", f"{base_url.rstrip('/')}/{name}.tar", LIBRILIGHT_MD5[name])
        for name in _chosen(names, LIBRILIGHT_MD5, "subset of Libri-light")
    ]


def limited_archives(base_url: str = LIBRILIGHT_URL) -> list[Archive]:
    """The limited-supervision sets: one archive."""
    return [
        Archive(f"{name}.tgz", f"{base_url.rstrip('/')}/{name}.tgz", checksum)
        for name, checksum in LIMITED_SHA256.items()
    ]


def mls_archives(names: str, *, opus: bool, base_url: str = MLS_URL) -> list[Archive]:
    """Languages of MLS by their English names (comma-separated, or "all"). Raises UserError for an unknown one."""
    base, kind = base_url.rstrip("/"), "_opus" if opus else ""
    files = [f"mls_{name}{kind}.tar.gz" for name in _chosen(names, MLS_LANGUAGES, "language of MLS")]
    return [Archive(file, f"{base}/{file}", checksums=f"{base}/md5sum.txt") for file in files]


def fleurs_archives(names: str, base_url: str = FLEURS_URL) -> list[Archive]:
    """Languages of FLEURS by its own codes: en_us, pl_pl, cmn_hans_cn, ... (comma-separated)."""
    languages = [name.strip() for name in names.split(",") if name.strip()]
    for name in languages:
        if not name.replace("_", "").isalnum():
            raise UserError(f"--download {name}: is no language of FLEURS: write its code, such as en_us or pl_pl")
    return [Archive(f"{name}.tar.gz", f"{base_url.rstrip('/')}/{name}.tar.gz") for name in languages]


def _chosen(names: str, known: Iterable[str], what: str) -> Sequence[str]:
    choices = list(known)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if wanted == ["all"]:
        return choices
    for name in wanted:
        if name not in choices:
            raise UserError(f"--download {name}: is no {what}: choose among {', '.join(choices)}, or all")
    return wanted
