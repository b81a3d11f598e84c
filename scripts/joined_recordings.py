"""Error rates of a recogniser utterance by utterance, and in the long recordings that each speaker's utterances make.

    python scripts/joined_recordings.py MODEL MANIFEST --splits dev test-clean --minutes 15 --least 5

Utterances of a speaker follow one another, with pauses of 0.3 to 1.5 s of noise as quiet as the quietest of the
utterance before, up to so many minutes. Recordings that stay shorter than `--least` minutes are left out, and so are
their utterances. Greedy decoding, default settings.
"""

import argparse

from wav2vec2 import Transcriber
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.waveforms import read_utterance
from wav2vec2.evaluation.joined import joined
from wav2vec2.text.error_rate import ErrorCounts, character_errors, word_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("manifest")
    parser.add_argument("--splits", nargs="+", default=["test"])
    parser.add_argument("--minutes", type=float, default=15.0, help="longest recording, about")
    parser.add_argument("--least", type=float, default=0.0, help="minutes of the shortest recording")
    options = parser.parse_args()
    said = (row for split in options.splits for row in Manifest.open(options.manifest, split) if row.text)
    ordered = sorted(said, key=lambda row: row.speaker)
    recordings, rows = [], []
    for one in joined(ordered, seconds=60 * options.minutes, most_seconds=float("inf")):
        its, ordered = ordered[: len(one.texts)], ordered[len(one.texts) :]
        if one.recording.samples >= 60 * SAMPLE_RATE * options.least:
            recordings.append(one)
            rows += its
    lengths = [one.recording.samples / SAMPLE_RATE / 60 for one in recordings]
    with Transcriber(options.model, lm="none") as transcriber:
        found = transcriber([read_utterance(row) for row in rows])
        single = [(row.text or "", one.text) for row, one in zip(rows, found, strict=True)]
        whole = transcriber.stream(one.recording for one in recordings)
        long = [(one.text, result.text) for one, result in zip(recordings, whole, strict=True)]
    print(f"{len(rows)} utterances; {len(recordings)} recordings of {min(lengths):.1f} to {max(lengths):.1f} min")
    for name, pairs in (("utterance by utterance", single), ("joined", long)):
        words = sum((word_errors(said, heard) for said, heard in pairs), ErrorCounts())
        characters = sum((character_errors(said, heard) for said, heard in pairs), ErrorCounts())
        print(f"{name}: WER {100 * words.rate:.2f} %, CER {100 * characters.rate:.2f} %")


if __name__ == "__main__":
    main()
