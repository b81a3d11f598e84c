"""Error rates of a recogniser utterance by utterance, and in the long recordings that each speaker's utterances make.

    python scripts/joined_recordings.py MODEL MANIFEST --splits dev test-clean --minutes 15

Utterances of a speaker follow one another, with pauses of 0.3 to 1.5 s of noise as quiet as the quietest of the
utterance before, up to so many minutes. Greedy decoding, default settings.
"""

import argparse
from collections.abc import Callable, Sequence

import kaldialign

from wav2vec2 import Transcriber
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.waveforms import read_utterance
from wav2vec2.evaluation.joined import joined


def rate(pairs: Sequence[tuple[str, str]], units: Callable[[str], list[str]]) -> float:
    """The errors in percent of what was said; pairs: said and heard."""
    errors = sum(kaldialign.edit_distance(units(said), units(heard))["total"] for said, heard in pairs)
    return 100 * errors / sum(len(units(said)) for said, _ in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("manifest")
    parser.add_argument("--splits", nargs="+", default=["test"])
    parser.add_argument("--minutes", type=float, default=15.0, help="longest recording, about")
    options = parser.parse_args()
    rows = [row for split in options.splits for row in Manifest.open(options.manifest, split) if row.text]
    recordings = list(joined(rows, seconds=60 * options.minutes, most_seconds=float("inf")))
    lengths = [one.recording.samples / SAMPLE_RATE / 60 for one in recordings]
    with Transcriber(options.model, lm="none") as transcriber:
        found = transcriber([read_utterance(row) for row in rows])
        single = [(row.text or "", one.text) for row, one in zip(rows, found, strict=True)]
        whole = transcriber.stream(one.recording for one in recordings)
        long = [(one.text, result.text) for one, result in zip(recordings, whole, strict=True)]
    print(f"{len(rows)} utterances; {len(recordings)} recordings of {min(lengths):.1f} to {max(lengths):.1f} min")
    for name, pairs in (("utterance by utterance", single), ("joined", long)):
        print(f"{name}: WER {rate(pairs, str.split):.2f} %, CER {rate(pairs, list):.2f} %")


if __name__ == "__main__":
    main()
