"""A LibriSpeech-like tree of noise bursts, with lists of labels and a text; imported by the tests of experiments."""

from pathlib import Path

import numpy as np
import soundfile

SENTENCES = ("RED BOX", "A RED LAMP", "BLUE BOX AND LAMP", "THE BLUE LAMP", "A BOX")


def write_tree(root: Path) -> Path:
    """Four training speakers, one dev and two test speakers, six utterances of about a second each."""
    rng = np.random.default_rng(0)
    speakers = [("train-a", 1), ("train-a", 2), ("train-b", 3), ("train-b", 4)]
    speakers += [("dev", 5), ("test-clean", 6), ("test-other", 7)]
    labelled = []
    for split, speaker in speakers:
        chapter = root / split / str(speaker) / "9"
        chapter.mkdir(parents=True)
        lines = []
        for number in range(6):
            name = f"{speaker}-9-{number:04d}"
            soundfile.write(chapter / f"{name}.flac", rng.normal(0, 0.1, 24_000 + 1_500 * number), 16_000)
            lines.append(f"{name} {SENTENCES[(number + speaker) % len(SENTENCES)]}\n")
            if split.startswith("train") and number < 3:
                labelled.append(name)
        (chapter / f"{speaker}-9.trans.txt").write_text("".join(lines))
    (root / "labels-1h.txt").write_text("\n".join(labelled) + "\n")
    (root / "labels-10min.txt").write_text("\n".join(labelled[::3]) + "\n")
    (root / "text.txt").write_text("\n".join(SENTENCES * 12) + "\n")
    return root
