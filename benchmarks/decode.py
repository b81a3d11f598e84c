"""Beam searches on the same emissions and the same n-gram: frames a second and word error rate.

    python benchmarks/decode.py --emissions e.npz --make-text dev.txt            # made-up emissions, once
    python benchmarks/decode.py --emissions e.npz --make-model MODEL --manifest m.parquet --split dev   # or real ones
    python benchmarks/decode.py --emissions e.npz --lm 4gram.arpa --pyctcdecode-python venv/bin/python

pyctcdecode and ctc-beam-decoder run in the environment of that Python, with their own pruning (-10 nats a prefix, -5 a
symbol), which is faster than none. `beam` is ours over any words, `beam, closed` ours over the language model's words
only, `lexicon` flashlight as this package drives it. Loading and the first compilation are not timed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from decode_emissions import EmissionsFile, from_model, from_text

from wav2vec2.decode.lexicon.decoder import LexiconDecoder
from wav2vec2.decode.prefix.decoder import PrefixDecoder
from wav2vec2.decode.search import Decoder, SearchOptions
from wav2vec2.decode.words import build_lexicon
from wav2vec2.errors import UserError
from wav2vec2.lm.ngram.model import NgramModel
from wav2vec2.lm.words import ngram_words
from wav2vec2.text.error_rate import word_errors

SIDES = ("beam", "beam, closed", "lexicon", "ctc_beam_decoder", "pyctcdecode")


@dataclass(frozen=True)
class Row:
    side: str
    beam: int
    cores: int
    utterances: int
    frames_per_second: float
    frames_per_cpu_second: float | None
    wer: float


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emissions", type=Path, required=True, help=".npz to read, or to make")
    parser.add_argument("--make-text", type=Path, help="make it up from lines of id and text")
    parser.add_argument("--make-model", type=Path, help="make it with this model directory")
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--lm", type=Path, help="ARPA file")
    parser.add_argument("--beams", type=int, nargs="+", default=[50, 500, 1500])
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--utterances", type=int, default=10_000)
    parser.add_argument("--slow-utterances", type=int, default=10_000, help="at most so many for pyctcdecode")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--threshold", type=float, default=50.0, help="of ours and flashlight's")
    parser.add_argument("--lm-weight", type=float, default=0.8)
    parser.add_argument("--word-score", type=float, default=1.0)
    parser.add_argument("--unknown-score", type=float, default=-10.0)
    parser.add_argument("--pyctcdecode-python", type=Path)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def search_options(side: str, o: argparse.Namespace, beam: int) -> SearchOptions:
    unknown = o.unknown_score if side == "beam" else float("-inf")
    return SearchOptions(
        beam=beam, threshold=o.threshold, lm_weight=o.lm_weight, word_score=o.word_score, unknown_score=unknown
    )


@contextmanager
def in_tree(side: str, o: argparse.Namespace, file: EmissionsFile, options: SearchOptions) -> Iterator[Decoder]:
    """Our decoder of that name, loaded and compiled."""
    decoder: Decoder
    if side == "lexicon":
        lexicon = build_lexicon(ngram_words(o.lm), file.vocabulary, source=str(o.lm))
        decoder = LexiconDecoder(file.vocabulary, lexicon, o.lm, workers=o.cores if o.cores > 1 else 0)
    else:
        decoder = PrefixDecoder(file.vocabulary, NgramModel.load(o.lm), threads=o.cores)
    try:
        decoder.decode([array[:50] for array in file.emissions[: o.cores]], options)
        yield decoder
    finally:
        decoder.close()


def measure_ours(side: str, o: argparse.Namespace, file: EmissionsFile, beam: int) -> Row:
    options = search_options(side, o, beam)
    with in_tree(side, o, file, options) as decoder:
        begin, cpu = time.perf_counter(), time.process_time()
        found = decoder.decode(file.emissions, options)
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    texts = [file.vocabulary.decode(nbest[0].ids) for nbest in found]
    measured_here = side != "lexicon" or o.cores == 1
    return row(side, beam, o.cores, file, texts, seconds, cpu if measured_here else None)


def measure_elsewhere(side: str, o: argparse.Namespace, file: EmissionsFile, beam: int, words: str) -> Row:
    count = min(len(file.emissions), o.slow_utterances if side == "pyctcdecode" else len(file.emissions))
    task = {
        "package": side,
        "emissions": str(o.emissions),
        "arpa": str(o.lm),
        "words": words,
        "beam": beam,
        "lm_weight": o.lm_weight,
        "word_score": o.word_score,
        "cores": o.cores,
        "utterances": count,
    }
    script = Path(__file__).with_name("decode_elsewhere.py")
    command = [str(o.pyctcdecode_python), str(script), json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""})
    if done.returncode:
        raise UserError(f"{side}: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
    result = json.loads(done.stdout.splitlines()[-1])
    part = EmissionsFile(file.vocabulary, file.emissions[:count], file.references[:count])
    cpu = result["cpu"] if o.cores == 1 or side != "pyctcdecode" else None
    return row(side, beam, o.cores, part, result["texts"], result["seconds"], cpu)


def row(
    side: str, beam: int, cores: int, file: EmissionsFile, texts: list[str], seconds: float, cpu: float | None
) -> Row:
    counts = [word_errors(r, t) for r, t in zip(file.references, texts, strict=True)]
    total = sum(counts[1:], counts[0])
    rate = None if cpu is None else file.frames / cpu
    return Row(side, beam, cores, len(texts), file.frames / seconds, rate, 100 * total.rate)


def make(o: argparse.Namespace) -> None:
    if o.make_text is not None:
        file = from_text(o.make_text, o.utterances)
    else:
        if o.manifest is None:
            raise UserError("--make-model needs --manifest")
        file = from_model(o.make_model, o.manifest, o.split, o.utterances)
    file.save(o.emissions)
    print(f"{o.emissions}: {len(file.emissions)} utterances, {file.frames} frames", file=sys.stderr)


def publish(rows: list[Row], path: Path | None) -> None:
    print("\n| decoder | beam | cores | utterances | frames/s | frames/CPU s | WER % |\n|---|---|---|---|---|---|---|")
    for r in rows:
        cpu = "" if r.frames_per_cpu_second is None else f"{r.frames_per_cpu_second:,.0f}"
        print(
            f"| {r.side} | {r.beam} | {r.cores} | {r.utterances} | {r.frames_per_second:,.0f} | {cpu} | {r.wer:.2f} |"
        )
    if path is not None:
        path.write_text(json.dumps([asdict(r) for r in rows], indent=2) + "\n", encoding="utf-8")


def main() -> None:
    o = arguments()
    if o.make_text is not None or o.make_model is not None:
        make(o)
        return
    if o.lm is None:
        raise UserError("--lm: give the ARPA file that all decoders use")
    file = EmissionsFile.load(o.emissions, o.utterances)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "words.txt"
        words.write_text("\n".join(ngram_words(o.lm)), encoding="utf-8")
        for beam in o.beams:
            for side in o.sides:
                there = side in ("ctc_beam_decoder", "pyctcdecode")
                if there and o.pyctcdecode_python is None:
                    print(f"{side}: skipped, no --pyctcdecode-python", file=sys.stderr)
                    continue
                measure: Callable[[], Row] = (
                    (lambda s=side, b=beam: measure_elsewhere(s, o, file, b, str(words)))
                    if there
                    else (lambda s=side, b=beam: measure_ours(s, o, file, b))
                )
                try:
                    rows.append(measure())
                    print(rows[-1], file=sys.stderr)
                except UserError as error:
                    print(f"{side}: skipped, {error}", file=sys.stderr)
    publish(rows, o.json)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"decode.py: {error}")
