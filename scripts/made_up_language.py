"""A made-up corpus of another script: synthetic speakers of Greek or Hindi, some of whom are transcribed.

    python scripts/made_up_language.py OUT --language el --minutes 12 --transcribed-minutes 6

OUT/recordings/SPEAKER/NUMBER.ogg   what is said, by voices of espeak-ng (extra demo)
OUT/transcripts.csv                 path and text of some speakers, as people write: capitals and full stops
OUT/text.txt                        more sentences of the language, for its language model

The sentences come from short lists of words. Nobody speaks so; what is shown is that every step works in the script.
The same options give the same files.
"""

import argparse
import csv
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.demo.speech import TEST_VARIANTS, TRAIN_VARIANTS, Synthesizer

VARIANTS = [name for pair in zip(TRAIN_VARIANTS[: len(TEST_VARIANTS)], TEST_VARIANTS, strict=True) for name in pair]
VARIANTS += TRAIN_VARIANTS[len(TEST_VARIANTS) :]


@dataclass(frozen=True)
class Words:
    """Short lists of words, in the order in which they are said."""

    verbs: tuple[str, ...]
    numbers: tuple[str, ...]
    colours: tuple[str, ...]
    things: tuple[str, ...]
    places: tuple[str, ...]
    full_stop: str
    verb_last: bool = False


LANGUAGES = {
    "el": Words(
        ("φέρε", "κρύψε", "βάψε", "μέτρα", "πάρε"),
        ("δύο", "τρία", "τέσσερα", "πέντε", "έξι", "επτά"),
        ("κόκκινα", "μπλε", "πράσινα", "μαύρα", "άσπρα"),
        ("κουτιά", "βιβλία", "ποτήρια", "κλειδιά", "μήλα"),
        ("στον κήπο", "στο τραπέζι", "στην κουζίνα", "κοντά στο ποτάμι", "κάτω από το παράθυρο"),
        ".",
    ),
    "hi": Words(
        ("लाओ", "छिपाओ", "गिनो", "रखो", "उठाओ"),
        ("दो", "तीन", "चार", "पाँच", "छह", "सात"),
        ("लाल", "नीली", "हरी", "काली", "सफ़ेद"),
        ("किताबें", "कुर्सियाँ", "घड़ियाँ", "चाबियाँ", "टोपियाँ"),
        ("बाग में", "मेज़ पर", "रसोई में", "नदी के पास", "खिड़की के नीचे"),
        "।",
        verb_last=True,
    ),
}


def sentence(rng: random.Random, words: Words) -> tuple[str, str]:
    """A sentence as it is said, and as somebody writes it."""
    things = [rng.choice(words.numbers), rng.choice(words.colours), rng.choice(words.things)]
    place, verb = rng.choice(words.places), rng.choice(words.verbs)
    said = " ".join([place, *things, verb] if words.verb_last else [verb, *things, place])
    return said, said[:1].upper() + said[1:] + words.full_stop


def write_language(
    out: Path, language: str, minutes: float, transcribed: float, *, speakers: int = 16, seed: int = 1
) -> None:
    """Write the corpus. minutes: of all speech; transcribed: minutes of it, by whole speakers."""
    words, synthesizer = LANGUAGES[language], Synthesizer()
    seconds = 60 * minutes / speakers
    rows: list[tuple[str, str]] = []
    heard = 0.0
    for speaker in range(speakers):
        rng = random.Random(f"{seed} {language} {speaker}")
        noise = np.random.default_rng([seed, speaker])
        synthesizer.set_voice(f"{language}+{VARIANTS[speaker % len(VARIANTS)]}")
        rate, pitch = rng.randint(140, 175), rng.randint(35, 65)
        folder = out / "recordings" / f"speaker{speaker:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        with_text, spoken, number = heard < 60 * transcribed, 0.0, 0
        while spoken < seconds:
            said, written = sentence(rng, words)
            speech = synthesizer.say(said, words_per_minute=rate + rng.randint(-10, 10), pitch=pitch, pitch_range=50)
            speech = speech + np.float32(0.003) * noise.standard_normal(len(speech), dtype=np.float32)
            file = folder / f"{number:03d}.ogg"
            soundfile.write(file, speech * np.float32(0.7 / np.abs(speech).max()), SAMPLE_RATE)
            if with_text:
                rows.append((file.relative_to(out / "recordings").as_posix(), written))
            spoken, number = spoken + len(speech) / SAMPLE_RATE, number + 1
        heard += spoken
    with (out / "transcripts.csv").open("w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows([("path", "text"), *rows])
    rng = random.Random(f"{seed} {language} text")
    text = "".join(f"{sentence(rng, words)[1]}\n" for _ in range(2000))
    (out / "text.txt").write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--language", choices=sorted(LANGUAGES), default="el")
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--transcribed-minutes", type=float, default=6.0)
    parser.add_argument("--speakers", type=int, default=16)
    options = parser.parse_args()
    write_language(
        options.out, options.language, options.minutes, options.transcribed_minutes, speakers=options.speakers
    )


if __name__ == "__main__":
    main()
