"""What pyctcdecode 0.5.0 (with kenlm 0.3.0) wrote and decoded, on made-up emissions over a small language model.

`build_ctcdecoder(SYMBOLS, "lm.arpa", unigrams=[...], **WEIGHTS).save_to_dir(folder)` wrote the files that `beside`
writes again here. `TEXTS` are the best texts of `decode_beams(emissions(seed), beam_width=100)`, with their scores. For
other seeds its search drops hypotheses that score better by its own rule: for seed 0 it finds "the cat a sat" (-21.21),
while "the cat sat" scores -16.02.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

ARPA = """\\data\\
ngram 1=9
ngram 2=9

\\1-grams:
-2.0\t<unk>
-99\t<s>\t-0.4
-1.0\t</s>
-0.7\tthe\t-0.3
-0.9\tcat\t-0.2
-1.1\that\t-0.2
-1.0\tsat\t-0.2
-1.2\tbed\t-0.2
-1.3\ta\t-0.3

\\2-grams:
-0.3\t<s> the
-0.6\t<s> a
-0.4\tthe cat
-0.5\tthe hat
-0.4\tcat sat
-0.3\tsat </s>
-0.7\ta bed
-0.5\tbed </s>
-0.6\that sat

\\end\\
"""
SYMBOLS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"abcdehst")
ALPHABET: dict[str, Any] = {"labels": ["", "<s>", "</s>", "\u2047", " ", *"abcdehst"], "is_bpe": False}
WEIGHTS = {"alpha": 0.6, "beta": 1.2, "unk_score_offset": -4.0, "score_boundary": True}
SPOKEN = ("the cat sat", "a bed", "the hat sat", "the bat", "a cab")
TEXTS = {
    2: ("the hat sat", -13.2395),
    5: ("the cat sat", -14.4799),
    6: ("a bed", -6.2011),
    10: ("the cat sat", -12.7613),
    11: ("a bed", -7.9542),
    12: ("the hat sat", -14.9440),
    14: ("a cat", -12.1936),
    15: ("the cat sat", -13.5360),
    17: ("the hat sat", -14.4015),
}


def emissions(seed: int) -> np.ndarray:
    """Log-probabilities (T, V) of a spoken text in noise."""
    random = np.random.default_rng(seed)
    ids: list[int] = []
    for letter in SPOKEN[seed % 5].replace(" ", "|"):
        ids += [SYMBOLS.index(letter)] * int(random.integers(1, 3)) + [0] * int(random.integers(1, 3))
    logits = random.normal(0, 1.0, (len(ids), len(SYMBOLS)))
    logits[np.arange(len(ids)), ids] += 3.0
    logits[:, 1:4] -= 8
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def beside(model: Path, **changes: Any) -> Path:
    """Write the language model beside a model, as pyctcdecode does, and return its folder."""
    folder = model / "language_model"
    folder.mkdir(parents=True)
    (folder / "lm.arpa").write_text(ARPA)
    (folder / "attrs.json").write_text(json.dumps(WEIGHTS | changes))
    (folder / "unigrams.txt").write_text("a\nbed\ncat\nhat\nsat\nthe\n")
    (model / "alphabet.json").write_text(json.dumps(ALPHABET))
    return folder
