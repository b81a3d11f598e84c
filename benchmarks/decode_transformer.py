"""A Transformer language model in the search, beside rescoring: calls, time and word error rate.

    python benchmarks/decode_transformer.py --emissions e.npz --lm 4gram.arpa --transformer lm/model --beam 500

The emissions are those of benchmarks/decode.py. `calls` counts the questions of the search to the Transformer, `passes`
the forward passes of its network. flashlight asks for one word of one hypothesis at a time (`lexicon`); give it few
utterances.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from decode_emissions import EmissionsFile

from wav2vec2.decode.hypothesis import Hypothesis, hypothesis_text
from wav2vec2.decode.lexicon.decoder import LexiconDecoder
from wav2vec2.decode.prefix.decoder import PrefixDecoder
from wav2vec2.decode.rescore import Rescorer
from wav2vec2.decode.search import Decoder, SearchOptions
from wav2vec2.decode.words import build_lexicon
from wav2vec2.lm.ngram.model import NgramModel
from wav2vec2.lm.transformer.model import Integers, TransformerLM
from wav2vec2.text.error_rate import word_errors

SIDES = ("ngram", "rescore", "beam", "lexicon")
Lists = list[list[Hypothesis]]


class Counting(TransformerLM):
    """Counts questions, histories and forward passes."""

    calls = histories = passes = 0

    def score(self, histories: Integers, tokens: Integers) -> tuple[np.ndarray, Integers]:
        self.calls += 1
        return super().score(histories, tokens)

    def _extend(self, nodes: Integers) -> None:
        self.passes += 1
        self.histories += len(nodes)
        super()._extend(nodes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emissions", type=Path, required=True)
    parser.add_argument("--lm", type=Path, required=True, help="ARPA file, for the searches that are rescored")
    parser.add_argument("--transformer", type=Path, required=True)
    parser.add_argument("--sides", nargs="+", default=["ngram", "rescore", "beam"], choices=SIDES)
    parser.add_argument("--beam", type=int, default=500)
    parser.add_argument("--utterances", type=int, default=20)
    parser.add_argument("--frames", type=int, default=3000, help="at most so many of each utterance")
    parser.add_argument("--lm-weight", type=float, default=1.0)
    parser.add_argument("--word-score", type=float, default=1.0)
    o = parser.parse_args()
    file = EmissionsFile.load(o.emissions, o.utterances)
    arrays = [array[: o.frames] for array in file.emissions]
    model = Counting.load(o.transformer)
    options = SearchOptions(beam=o.beam, lm_weight=o.lm_weight, word_score=o.word_score)
    print("| search | beam | calls | passes | histories | CPU s | CPU s an audio-hour | WER % |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for side in o.sides:
        decoder, run = prepared(side, o, file, model, options)
        run(arrays[:1])  # compiled and loaded
        model.calls = model.passes = model.histories = 0
        begin = time.process_time()
        found = run(arrays)
        seconds = time.process_time() - begin
        texts = [hypothesis_text(file.vocabulary, nbest[0]) for nbest in found]
        counts = [word_errors(r, t) for r, t in zip(file.references, texts, strict=True)]
        rate = 100 * sum(counts[1:], counts[0]).rate
        hour = seconds / (sum(map(len, arrays)) * 0.02) * 3600
        asked = f"{model.calls:,} | {model.passes:,} | {model.histories:,}"
        print(f"| {side} | {o.beam} | {asked} | {seconds:.1f} | {hour:,.0f} | {rate:.1f} |", flush=True)
        decoder.close()


def prepared(
    side: str, o: argparse.Namespace, file: EmissionsFile, model: TransformerLM, options: SearchOptions
) -> tuple[Decoder, Callable[[list[np.ndarray]], Lists]]:
    decoder: Decoder
    if side == "lexicon":
        decoder = LexiconDecoder(file.vocabulary, build_lexicon(model.tokens, file.vocabulary), model, workers=0)
    else:
        lm = model if side == "beam" else NgramModel.load(o.lm)
        decoder = PrefixDecoder(file.vocabulary, lm, threads=1)
    if side != "rescore":
        return decoder, lambda arrays: decoder.decode(arrays, options)
    many = SearchOptions(beam=o.beam, lm_weight=o.lm_weight, word_score=o.word_score, nbest=100)
    rescorer = Rescorer(model, o.lm_weight, o.word_score)
    return decoder, lambda arrays: rescorer(decoder.decode(arrays, many), file.vocabulary)


if __name__ == "__main__":
    main()
