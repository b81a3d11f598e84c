"""What a search costs and how well it reads when recordings come in pieces, with and without a state carried over.

    python benchmarks/decode_pieces.py --emissions e.npz --lm 4gram.arpa --frames 200

The emissions are those of benchmarks/decode.py. Each utterance is cut after frames in which a separator is the most
probable, into pieces of at most `--frames` frames: made-up emissions have no pauses.
"""

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
from decode_emissions import EmissionsFile

from wav2vec2.decode.pieces import Piece, search_pieces
from wav2vec2.decode.prefix.decoder import PrefixDecoder
from wav2vec2.decode.search import Search, SearchOptions
from wav2vec2.lm.ngram.model import NgramModel
from wav2vec2.text.error_rate import word_errors


def edges_of(array: np.ndarray, separator: int, longest: int) -> list[int]:
    edges = [0]
    while len(array) - edges[-1] > longest:
        begin = edges[-1] + longest // 2
        edges.append(begin + int(np.argmax(array[begin : edges[-1] + longest, separator])) + 1)
    return [*edges, len(array)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emissions", type=Path, required=True)
    parser.add_argument("--lm", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--utterances", type=int, default=10_000)
    parser.add_argument("--beam", type=int, default=50)
    parser.add_argument("--lm-weight", type=float, default=1.0)
    parser.add_argument("--word-score", type=float, default=1.0)
    o = parser.parse_args()
    file = EmissionsFile.load(o.emissions, o.utterances)
    vocabulary = file.vocabulary
    separator = vocabulary.symbols.index("|")
    options = SearchOptions(beam=o.beam, lm_weight=o.lm_weight, word_score=o.word_score)
    print("| pieces | language model | CPU s an audio-hour | WER % |\n|---:|---|---:|---:|")
    with PrefixDecoder(vocabulary, NgramModel.load(o.lm), threads=1) as decoder:
        decoder.decode([file.emissions[0][:50]], options)  # compiled
        for longest, carry in ((1_000_000, False), (o.frames, False), (o.frames, True)):
            pieces = []
            for number, array in enumerate(file.emissions):
                edges = itertools.pairwise(edges_of(array, separator, longest))
                pieces += [Piece(number, array[first:last], last < len(array)) for first, last in edges]
            begin = time.process_time()
            found = list(search_pieces([Search("", decoder, options)], vocabulary, pieces, carry=carry))
            seconds = time.process_time() - begin
            texts: list[list[str]] = [[] for _ in file.emissions]
            for piece, (nbest,) in zip(pieces, found, strict=True):
                texts[piece.recording].append(vocabulary.decode(nbest[0].ids))
            counts = [word_errors(r, " ".join(t)) for r, t in zip(file.references, texts, strict=True)]
            rate = 100 * sum(counts[1:], counts[0]).rate
            state = "goes on" if carry else "starts afresh"
            print(f"| {len(pieces)} | {state} | {seconds / (file.frames * 0.02) * 3600:.1f} | {rate:.2f} |", flush=True)


if __name__ == "__main__":
    main()
