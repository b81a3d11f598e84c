"""Log-probabilities of many utterances in one .npz: from a model and a manifest, or made up from text.

frames: (sum of T, V) float32; lengths: (N,); references: (N,) text; symbols: (V,); blank; separator is `|`.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wav2vec2.audio.recordings import Failure
from wav2vec2.data.manifest import Manifest
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel
from wav2vec2.inference.frame_outputs import utterance_recording
from wav2vec2.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class EmissionsFile:
    vocabulary: Vocabulary
    emissions: list[np.ndarray]
    references: list[str]

    @property
    def frames(self) -> int:
        return sum(map(len, self.emissions))

    def save(self, path: Path) -> None:
        np.savez(
            path,
            frames=np.concatenate(self.emissions),
            lengths=np.array([len(array) for array in self.emissions]),
            references=np.array(self.references),
            symbols=np.array(self.vocabulary.symbols),
            blank=self.vocabulary.blank,
        )

    @classmethod
    def load(cls, path: Path, utterances: int) -> "EmissionsFile":
        try:
            file = np.load(path)
            edges = np.concatenate([[0], np.cumsum(file["lengths"])])
            frames = file["frames"]
            vocabulary = Vocabulary.from_symbols(file["symbols"].tolist(), blank=int(file["blank"]))
            references = file["references"].tolist()
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path}: no file of emissions ({error}); make it with --make") from error
        arrays = [frames[a:b] for a, b in itertools.pairwise(edges)]
        return cls(vocabulary, arrays[:utterances], references[:utterances])


def from_model(model: Path, manifest: Path, split: str | None, utterances: int) -> EmissionsFile:
    """Run a model over the transcribed utterances of a manifest."""
    acoustic = AcousticModel(model)
    rows = [row for row in Manifest.open(manifest, split=split) if row.text is not None][:utterances]
    emissions = []
    for pool in acoustic.pools(map(utterance_recording, rows), log_probs=True):
        for frames in pool:
            if isinstance(frames, Failure):
                raise UserError(frames.message)
            emissions.append(frames.log_probs)
    references = [acoustic.vocabulary.normalize(row.text) for row in rows]
    return EmissionsFile(acoustic.vocabulary, emissions, references)


def from_text(path: Path, utterances: int, seed: int = 0) -> EmissionsFile:
    """Make up the emissions of a fine-tuned model for the lines of a text: blanks in most frames, a peak of at most two
    frames for each symbol, sometimes of a wrong one; one frame in three and a half belongs to a symbol.
    """
    texts = [line.split(" ", 1)[1] for line in path.read_text(encoding="utf-8").splitlines() if " " in line]
    texts = texts[:utterances]
    vocabulary = Vocabulary.from_transcripts(texts)
    rng = np.random.default_rng(seed)
    emissions = []
    for text in texts:
        ids = np.array(vocabulary.encode(text))
        wrong = rng.random(len(ids)) < 0.12
        written = np.where(wrong, rng.integers(4, len(vocabulary), len(ids)), ids)
        ends = np.cumsum(rng.integers(2, 6, len(ids)))
        logits = rng.normal(size=(int(ends[-1]) + 3, len(vocabulary))) * 2.0
        logits[:, 0] += 9.0
        logits[:, 1:4] -= 10.0
        for place, right, best in zip(ends, ids, written, strict=True):
            logits[place - 1 : place + 1 - int(rng.random() < 0.7), best] += 12.0
            logits[place - 1, right] += 8.0
        shifted = logits - logits.max(-1, keepdims=True)
        emissions.append((shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))).astype(np.float32))
    return EmissionsFile(vocabulary, emissions, texts)
