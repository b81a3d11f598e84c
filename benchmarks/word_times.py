"""Times of recognised words against the forced alignment of the true text, from the same log-probabilities.

Only words that are recognised correctly are compared: those that match in a shortest edit path between the two texts.

    python benchmarks/word_times.py runs/demo/finetune/model runs/demo/data/manifest.parquet --split test
    python benchmarks/word_times.py MODEL MANIFEST --preset preset.toml
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import kaldialign
import numpy as np
from arguments import run

from wav2vec2.data.manifest import Manifest
from wav2vec2.decode.aligned_text import AlignedText, align_text
from wav2vec2.decode.beside_model import build_model_searches
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.decode.greedy import confident_words
from wav2vec2.decode.hypothesis import Hypothesis, word_frames
from wav2vec2.decode.search import run_searches
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel, AcousticOutput
from wav2vec2.inference.frame_outputs import ComputeOptions, transcribed_utterances, utterance_recording

_GAP = ""


def differences(model: AcousticModel, hypothesis: Hypothesis, aligned: AlignedText) -> Iterator[tuple[float, float]]:
    """Yield how much later, in seconds, a correct word begins and ends than in the alignment."""
    vocabulary, span = model.vocabulary, model.architecture.frame_span
    said = [(vocabulary.normalize(word.text), word.span) for word in aligned.words if word.span is not None]
    found = [(vocabulary.normalize(text), first, last) for text, first, last in word_frames(vocabulary, hypothesis)]
    row = column = 0
    for one, other in kaldialign.align([text for text, _ in said], [text for text, *_ in found], _GAP):
        if one == other:
            true, (_, first, last) = said[row][1], found[column]
            here, there = span(first, last), span(true.first, true.last)
            yield here[0] - there[0], here[1] - there[1]
        row += one != _GAP
        column += other != _GAP


def summary(name: str, late: list[tuple[float, float]], words: int) -> str:
    """Return a line of a Markdown table, in milliseconds."""
    cells = []
    for edge in np.array(late).T:
        size = 1000 * np.abs(edge)
        cells += [f"{np.median(size):.0f}", f"{size.mean():.0f}", f"{100 * np.mean(size <= 40):.0f} %"]
    return f"| {name} | {len(late)} of {words} | " + " | ".join(cells) + " |"


def measure() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("manifest")
    parser.add_argument("--split")
    parser.add_argument("--preset", help="a preset of a search, in addition to greedy decoding")
    parser.add_argument("--lm", type=Path)
    parser.add_argument("--lexicon", type=Path)
    options = parser.parse_args()
    model = AcousticModel(options.model, compute=ComputeOptions(device="cpu"))
    utterances = list(transcribed_utterances(Manifest.open(options.manifest, split=options.split)))
    given = options.preset or options.lm or options.lexicon
    decoding = DecodingOptions(preset=options.preset, lm=options.lm, lexicon=options.lexicon)
    searches = build_model_searches(decoding, model.vocabulary, lambda: None) if given else []
    search = searches[-1] if searches else None
    late: dict[str, list[tuple[float, float]]] = {"greedy": [], **({search.title: []} if search else {})}
    words = 0
    texts = iter(utterances)
    for pool in model.pools(map(utterance_recording, utterances), log_probs=True):
        for output in pool:
            text = next(texts).text or ""
            if not isinstance(output, AcousticOutput) or output.log_probs is None:
                continue
            try:
                aligned = align_text(output.log_probs, text, model.vocabulary, name=output.recording.name)
            except UserError as error:
                print(error)
                continue
            words += len(aligned.words)
            greedy = confident_words(model.vocabulary, output.best_path, output.path_scores)
            late["greedy"] += differences(model, greedy, aligned)
            if search is not None:
                ((nbest,),) = run_searches([search], model.vocabulary, [output.log_probs])
                late[search.title] += differences(model, nbest[0], aligned)
    head = " | ".join(f"{edge} {value}" for edge in ("begin", "end") for value in ("median", "mean", "within 40 ms"))
    print(f"| search | correct words | {head} |\n|---|---|{'---:|' * 6}")
    for name, entries in late.items():
        if entries:
            print(summary(name, entries, words))
    if search is not None:
        search.close()


if __name__ == "__main__":
    run(measure)
