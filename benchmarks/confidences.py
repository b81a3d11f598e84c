"""Which confidence of a greedily recognised word is best: how near the share of right words, how well it ranks.

python benchmarks/confidences.py runs/demo/finetune/model runs/demo/data/manifest.parquet --split test
"""

import argparse
from collections.abc import Callable

import numpy as np
from arguments import run
from numpy.typing import NDArray

from wav2vec2.data.manifest import Manifest
from wav2vec2.decode.hypothesis import collapse, word_frames
from wav2vec2.evaluation.calibration import Calibration
from wav2vec2.inference.acoustic_model import AcousticModel, AcousticOutput
from wav2vec2.inference.frame_outputs import ComputeOptions, transcribed_utterances, utterance_recording
from wav2vec2.output.transcript import Word

Scores = NDArray[np.float64]

# From the log-probabilities of a word's symbols, an array for each with those of its frames, and of all its frames.
KINDS: dict[str, Callable[[list[Scores], Scores], float]] = {
    "geometric mean over frames": lambda symbols, frames: np.concatenate(symbols).mean(),
    "the same, blanks between them included": lambda symbols, frames: frames.mean(),
    "geometric mean over symbols, each that of its frames": lambda symbols, frames: np.mean(
        [s.mean() for s in symbols]
    ),
    "geometric mean over symbols, each at its best frame": lambda symbols, frames: np.mean([s.max() for s in symbols]),
    "the least symbol, at its best frame": lambda symbols, frames: min(s.max() for s in symbols),
    "product over symbols, each at its best frame": lambda symbols, frames: sum(s.max() for s in symbols),
    "product over symbols, each the mean of its frames": lambda symbols, frames: sum(s.mean() for s in symbols),
    "product over all frames": lambda symbols, frames: frames.sum(),
}


def measure() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("manifest")
    parser.add_argument("--split")
    options = parser.parse_args()
    model = AcousticModel(options.model, compute=ComputeOptions(device="cpu"))
    vocabulary = model.vocabulary
    utterances = list(transcribed_utterances(Manifest.open(options.manifest, split=options.split)))
    texts = iter(utterances)
    calibrations = {name: Calibration() for name in KINDS}
    for pool in model.pools(map(utterance_recording, utterances), log_probs=False):
        for output in pool:
            reference = vocabulary.normalize(next(texts).text or "")
            if not isinstance(output, AcousticOutput):
                continue
            hypothesis = collapse(output.best_path, vocabulary.blank)
            spans = word_frames(vocabulary, hypothesis)
            scores = output.path_scores.astype(np.float64)
            for name, kind in KINDS.items():
                words = []
                for text, begin, end in spans:
                    symbols = [
                        scores[first : last + 1]
                        for first, last in zip(hypothesis.frames, hypothesis.last_frames, strict=True)
                        if begin <= first <= end
                    ]
                    words.append(Word(text, 0.0, 0.0, float(np.exp(kind(symbols, scores[begin : end + 1])))))
                calibrations[name].add(reference, words, vocabulary.normalize)
    print("| confidence of a word | mean | right | calibration error | ranking |\n|---|---:|---:|---:|---:|")
    for name, calibration in calibrations.items():
        if (found := calibration.reliability()) is not None:
            shares = f"{100 * found.confidence:.1f} % | {100 * found.right:.1f} % | {100 * found.error:.1f} %"
            print(f"| {name} | {shares} | {found.ranking:.3f} |")


if __name__ == "__main__":
    run(measure)
