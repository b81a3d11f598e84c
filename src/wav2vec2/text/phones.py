"""The phones of TIMIT: 61 as transcribed, 48 for training, 39 for scoring (Lee and Hon, IEEE Trans. ASSP 37, 1989).

The set of 48 merges allophones and closures and drops the glottal stop `q`. The set of 39 also merges phones that Lee
and Hon do not count as errors against each other. In it every silence, closure and epenthetic silence is `sil`, and
counts as a phone. Folding never merges neighbours: `bcl b` becomes `sil b`, and `h# pau` becomes `sil sil`.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from wav2vec2.errors import UserError

PhoneSet = Literal["39", "48", "61"]

_LABELS = (
    "aa ae ah ao aw ax ax-h axr ay b bcl ch d dcl dh dx eh el em en eng epi er ey f g gcl h# hh hv ih ix iy jh k kcl l "
    "m n ng nx ow oy p pau pcl q r s sh t tcl th uh uw ux v w y z zh"
)
DELETED = "q"
# The phones of the 61 that are renamed in the set of 48, with their names there.
_TO_48 = {
    "ax-h": "ax", "axr": "er", "em": "m", "nx": "n", "eng": "ng", "hv": "hh", "ux": "uw", "h#": "sil", "pau": "sil",
    **dict.fromkeys(("bcl", "dcl", "gcl"), "vcl"), **dict.fromkeys(("pcl", "tcl", "kcl"), "cl"),
}  # fmt: skip
# The phones of the 48 that are renamed in the set of 39, with their names there.
_TO_39 = {
    "ao": "aa", "ax": "ah", "ix": "ih", "el": "l", "en": "n", "zh": "sh", "cl": "sil", "vcl": "sil", "epi": "sil",
}  # fmt: skip

PHONES_61 = tuple(_LABELS.split())
PHONES_48 = tuple(sorted({_TO_48.get(phone, phone) for phone in PHONES_61 if phone != DELETED}))
PHONES_39 = tuple(sorted({_TO_39.get(phone, phone) for phone in PHONES_48}))

_KNOWN = frozenset({*PHONES_61, *PHONES_48, *PHONES_39})
# Labels that no other phone set has: a vocabulary with one of them is TIMIT's, not, say, a pronouncing dictionary's.
_TIMIT_ALONE = {"h#", "pau", "epi", "bcl", "dcl", "gcl", "pcl", "tcl", "kcl", "cl", "vcl", "ax-h", "axr", "q"}


def fold_phones(phones: Iterable[str], to: PhoneSet = "39") -> list[str]:
    """Rename phones of any of the three sets to those of the same or a smaller set; the 48 and the 39 drop `q`.

    Raises:
        UserError: for a symbol that is not a TIMIT phone.
    """
    folded = []
    for phone in phones:
        if phone not in _KNOWN:
            raise UserError(f"'{phone}' is not a TIMIT phone; the labels are {_LABELS}")
        if (name := _renamed(phone, to)) is not None:
            folded.append(name)
    return folded


def scoring_fold(symbols: Iterable[str]) -> Callable[[str], str] | None:
    """Return the function that folds the references and hypotheses of a phone model to 39 phones before scoring.

    Args:
        symbols: the model's symbols without its control symbols.

    Returns:
        ``fold_text``; None if the symbols are not TIMIT's, or are the 39 already.
    """
    names = set(symbols)
    return fold_text if names <= _KNOWN and names & _TIMIT_ALONE else None


def fold_text(text: str) -> str:
    """Fold a text of phones, separated by white space, to 39; words that are not TIMIT phones stay as they are."""
    return " ".join(name for phone in text.split() if (name := _renamed(phone, "39")) is not None)


def _renamed(phone: str, to: PhoneSet) -> str | None:
    if to == "61":
        return phone
    if phone == DELETED:
        return None
    name = _TO_48.get(phone, phone)
    return name if to == "48" else _TO_39.get(name, name)
