"""What is said of few updates is true of the encoder and of the way in which it is trained."""

import re
from pathlib import Path

import pytest

from wav2vec2.adapt.plateau import plateau

SMALL, BASE, XLS_R, LARGEST = 6_000_000, 94_000_000, 315_000_000, 963_000_000
NOTHING, POOR = "may be too few for the recogniser to write anything at all", "are few, and the recogniser will be poor"


@pytest.mark.parametrize(
    ("parameters", "way", "writes", "updates", "says", "because"),
    [
        (SMALL, "auto", False, 1199, NOTHING, "small encoders wrote nothing for their first 450 to 1,200 updates here"),
        (SMALL, "lora", False, 1199, NOTHING, "how many LoRA takes is not known; without it, small encoders wrote"),
        (BASE, "context", False, 499, NOTHING, "BASE had 95 % WER after 500 and 39 % after 1,000"),
        (BASE, "everything", True, 500, POOR, "BASE had 95 % WER after 500 and 39 % after 1,000"),
        (BASE, "lora", False, 600, NOTHING, "how many LoRA takes is not known; without it, BASE had"),
        (XLS_R, "auto", False, 399, NOTHING, "XLS-R 300M had 70 % WER after 400 and 42 % after 1,200"),
        (XLS_R, "context", False, 1199, POOR, "the paper takes 12,000 to 20,000"),
        (XLS_R, "adapters", False, 1199, NOTHING, "on an encoder that never wrote is not known; adapters on MMS 1B"),
        (LARGEST, "context", False, 400, POOR, "(of larger encoders no such numbers are known)"),
        (LARGEST, "adapters", True, 99, NOTHING, "had 28 % WER after 100 and 22 % after 400"),
        (LARGEST, "adapters", True, 399, POOR, "adapters on MMS 1B, which writes other languages already"),
    ],
)
def test_what_is_said(parameters, way, writes, updates, says, because) -> None:  # type: ignore[no-untyped-def]
    known = plateau(parameters, way, writes=writes)
    warning = known.warning(updates, given=True)
    assert warning.startswith(f"warning: {updates} updates {says}: ")
    assert because in warning
    assert f"give --updates {known.enough} or more, or use a GPU" in warning
    assert known.warning(known.enough, given=True) == ""
    assert f"give more --hours ({known.enough} updates, about 3 h here)" in known.warning(1, "3 h", given=False)


def test_its_numbers_are_those_of_the_pages_that_cite_their_sources() -> None:
    """The tables of the guides are cited in recipes and in docs; this project's own in docs/log.md."""
    root = Path(__file__).parents[2]
    cited = {
        "recipes/adapt_finetune.toml": "70, 42 and 32 % WER after 400, 1,200 and 3,200 updates",
        "recipes/finetune_mms.toml": "28 % WER after 100 updates and 22 % after 400",
        "docs/fine_tuning.md": "95 % after 500 updates and 39 % after 1,000",
    }
    for name, words in cited.items():
        assert words in re.sub(r"\n#? ?", " ", (root / name).read_text(encoding="utf-8")), name
