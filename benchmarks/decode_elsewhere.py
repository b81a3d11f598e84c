"""Decode a file of emissions with pyctcdecode or ctc-beam-decoder, which share an interface; runs in any environment
that has one of them (pyctcdecode needs an old numpy) and knows nothing of this package. Called by decode.py.

    python decode_elsewhere.py '{"package": "pyctcdecode", "emissions": "e.npz", "arpa": "lm.arpa", "beam": 50, ...}'
"""

import importlib
import itertools
import json
import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np


def main() -> None:
    task = json.loads(sys.argv[1])
    package = importlib.import_module(task["package"])
    file = np.load(task["emissions"])
    edges = np.concatenate([[0], np.cumsum(file["lengths"])])
    labels = [str(symbol) for symbol in file["symbols"]]
    labels = ["" if i == int(file["blank"]) else " " if s == "|" else s for i, s in enumerate(labels)]
    unigrams = [line for line in Path(task["words"]).read_text(encoding="utf-8").split("\n") if line]
    decoder = package.build_ctcdecoder(
        labels, kenlm_model_path=task["arpa"], unigrams=unigrams, alpha=task["lm_weight"], beta=task["word_score"]
    )
    logits = [np.ascontiguousarray(file["frames"][a:b]) for a, b in itertools.pairwise(edges)]
    logits = logits[: task["utterances"]]
    decoder.decode(logits[0][:50], beam_width=task["beam"])
    begin, cpu = time.perf_counter(), time.process_time()
    if task["cores"] > 1 and task["package"] == "pyctcdecode":
        with multiprocessing.get_context("fork").Pool(task["cores"]) as pool:
            texts = decoder.decode_batch(pool, logits, beam_width=task["beam"])
    else:
        texts = [decoder.decode(array, beam_width=task["beam"]) for array in logits]
    print(json.dumps({"texts": texts, "seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main()
