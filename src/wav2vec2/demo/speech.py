"""The demo's speech: espeak-ng voices that read the commands of a small grammar, and the choice of splits.

The synthetic recordings form a tree like LibriSpeech's (``split/speaker/chapter/*.flac`` with ``*.trans.txt``), which
``prepare librispeech`` reads. The speakers of ``test`` are in no other split, and no two speakers share a voice
variant. The same seed and amounts give the same files.
"""

import ctypes
import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import soxr

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.corpora.librispeech import scan_librispeech
from wav2vec2.data.prepare.examine import speaker_fraction
from wav2vec2.data.utterance import Utterance
from wav2vec2.errors import UserError

VERBS = ("bring", "move", "hide", "paint", "count", "take")
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = ("red", "blue", "green", "yellow", "black", "white")
OBJECTS = ("boxes", "chairs", "lamps", "books", "coins", "stones")
PLACES = ("kitchen", "garden", "window", "river", "table", "station")
RELATIONS = ("to the", "behind the", "near the", "under the")

TRAIN_VARIANTS = (
    *("m1", "m2", "m3", "m4", "m5", "m7", "f1", "f2", "f3", "Alex", "Andy", "Annie", "Denis", "Gene", "Hugo", "Jacky"),
    *("Lee", "Marco", "Mario", "Michael", "Mike", "Storm", "adam", "anika", "antonio", "aunty", "benjamin", "boris"),
    *("david", "edward", "john", "linda", "max", "paul", "pedro", "robert", "steph2", "victor", "zac"),
)
TEST_VARIANTS = ("f5", "m6", "Andrea", "Diogo", "quincy", "steph", "travis", "sandro", "f4", "m8", "Alicia", "miguel")
ACCENTS = ("en-us", "en", "en-gb-x-rp", "en-us-nyc")
PHRASES = {"unlabelled": 4, "train": 1, "test": 1}
"""Phrases in an utterance, by split. Long utterances suit pre-training, whose distractors come from the same utterance;
on short ones CTC soon learns to align."""


@dataclass(frozen=True)
class Speaker:
    """One synthetic voice: the name of an espeak-ng voice, and settings about which each utterance's vary at random."""

    name: str
    split: str
    voice: str
    words_per_minute: int
    pitch: int
    pitch_range: int
    noise_db: float


class Synthesizer:
    """The espeak-ng library, which a process opens once.

    Raises UserError if the package is missing, or if the library or its data cannot be opened.
    """

    _SYNCHRONOUS, _RATE, _PITCH, _RANGE, _UTF8 = 2, 1, 3, 4, 1

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise UserError(
                "the demo synthesises its speech with espeakng-loader, which is missing: "
                "pip install 'wav2vec2[demo]', or pass recordings of your own with --speech"
            ) from error
        data = str(espeakng_loader.get_data_path())
        try:
            self._library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        except OSError as error:
            raise UserError(
                f"cannot open the espeak-ng library: {error}; pass recordings of your own with --speech"
            ) from error
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
            ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        self._rate = self._library.espeak_Initialize(self._SYNCHRONOUS, 0, data.encode(), 0)
        if self._rate <= 0:
            raise UserError(
                f"{data}: espeak-ng cannot read its data there; install the environment under a shorter path"
            )
        self._blocks: list[bytes] = []
        prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = prototype(self._collect)  # kept alive here: ctypes holds no reference
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int) -> int:
        if samples and count > 0:
            self._blocks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def set_voice(self, name: str) -> None:
        """Choose the voice. Raises UserError if this version of espeak-ng lacks it."""
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise UserError(f"espeak-ng has no voice '{name}'; install espeakng-loader 0.2.4")

    def say(self, text: str, *, words_per_minute: int, pitch: int, pitch_range: int) -> np.ndarray:
        """Return ``text`` as speech: float32 samples at 16 kHz, with at most 0.1 s of silence at either end."""
        for parameter, value in ((self._RATE, words_per_minute), (self._PITCH, pitch), (self._RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._blocks.clear()
        data = text.encode()
        # Breathy voices contain random noise, whose seed would otherwise come from the clock.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, self._UTF8, None, None)
        pcm = np.frombuffer(b"".join(self._blocks), dtype=np.int16).astype(np.float32) / 32768
        loud = np.flatnonzero(np.abs(pcm) > 0.01)
        if len(loud) == 0:
            raise UserError(f"espeak-ng returned silence for '{text}'; reinstall espeakng-loader")
        margin = self._rate // 10
        pcm = pcm[max(0, loud[0] - margin) : loud[-1] + margin]
        return np.asarray(soxr.resample(pcm, self._rate, SAMPLE_RATE), dtype=np.float32)


def phrase(rng: random.Random) -> str:
    """Draw a command of the grammar, or part of one, in lower case, e.g. ``bring seven red boxes to the garden``."""
    verb, things = rng.choice(VERBS), [rng.choice(NUMBERS), rng.choice(COLOURS), rng.choice(OBJECTS)]
    place = [rng.choice(RELATIONS), rng.choice(PLACES)]
    parts = ([verb, *things, *place], things, place, things[:2], things[1:], [verb, *things])
    return " ".join(rng.choice(parts))


def speakers(seed: int = 0) -> list[Speaker]:
    """Return the speakers of ``train`` and ``test``: one a voice variant, with its own accent, rate and pitch."""
    rng = random.Random(f"speakers {seed}")
    cast = []
    for number, split, variants in ((1, "train", TRAIN_VARIANTS), (3, "test", TEST_VARIANTS)):
        for index, variant in enumerate(variants):
            cast.append(
                Speaker(
                    name=str(1000 * number + index),
                    split=split,
                    voice=f"{ACCENTS[index % len(ACCENTS)]}+{variant}",
                    words_per_minute=rng.randint(145, 175),
                    pitch=rng.randint(30, 70),
                    pitch_range=rng.randint(30, 70),
                    noise_db=rng.uniform(-60, -45),
                )
            )
    return cast


def _record(folder: Path, seconds: dict[str, float], seed: int, speaker: Speaker) -> dict[str, float]:
    """Write one speaker's utterances; returns the seconds written, by split."""
    synthesizer = Synthesizer()
    synthesizer.set_voice(speaker.voice)
    splits = ("unlabelled", "train") if speaker.split == "train" else (speaker.split,)
    return {split: _record_split(synthesizer, folder, speaker, split, seconds[split], seed) for split in splits}


def _record_split(
    synthesizer: Synthesizer, folder: Path, speaker: Speaker, split: str, seconds: float, seed: int
) -> float:
    number = f"{speaker.name}-{2 if split == 'unlabelled' else 1}"
    chapter = folder / split / number.replace("-", "/")
    chapter.mkdir(parents=True, exist_ok=True)
    for left_over in chapter.glob("*.flac"):  # of a demo with other options in the same folder
        left_over.unlink()
    phrases = PHRASES[split]
    rng = random.Random(f"{seed} {split} {speaker.name}")
    noise = np.random.default_rng([seed, int(speaker.name), phrases])
    lines: list[str] = []
    written = 0
    while written < seconds * SAMPLE_RATE:
        name = f"{number}-{len(lines):04d}"
        texts = [phrase(rng) for _ in range(phrases)]
        speech = synthesizer.say(
            ", ".join(texts),
            words_per_minute=speaker.words_per_minute + rng.randint(-15, 15),
            pitch=speaker.pitch + rng.randint(-10, 10),
            pitch_range=speaker.pitch_range + rng.randint(-15, 15),
        )
        # Room noise: no real recording has digital silence between words.
        level = np.float32(10 ** (speaker.noise_db / 20))
        speech = speech + level * noise.standard_normal(len(speech), dtype=np.float32)
        peak = float(np.abs(speech).max())
        soundfile.write(chapter / f"{name}.flac", speech * np.float32(0.7 / peak), SAMPLE_RATE, subtype="PCM_16")
        lines.append(f"{name} {' '.join(texts).upper()}\n")
        written += len(speech)
    (chapter / f"{number}.trans.txt").write_text("".join(lines), encoding="utf-8")
    return written / SAMPLE_RATE


def synthesize(folder: Path, minutes: dict[str, float], *, seed: int = 0, processes: int = 2) -> dict[str, float]:
    """Write about as many ``minutes`` of speech as each split should have under ``folder``.

    Args:
        folder: root of the tree.
        minutes: amounts of the splits ``unlabelled``, ``train`` (by the same speakers) and ``test``.
        seed: determines the speakers' settings, the texts and the noise.
        processes: number of speakers that are recorded at once.

    Returns:
        The seconds written, by split.

    Raises:
        UserError: espeakng-loader is missing or the folder cannot be written.
    """
    cast = speakers(seed)
    number = {split: sum(s.split == split for s in cast) for split in ("train", "test")}
    number["unlabelled"] = number["train"]
    seconds = {split: 60 * minutes[split] / number[split] for split in PHRASES}
    totals = dict.fromkeys(PHRASES, 0.0)
    # A new process for each speaker: espeak-ng keeps state, and a file must not depend on what was said before it.
    # They are forked from a server that has imported this module but has not opened espeak-ng.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    try:
        with ProcessPoolExecutor(processes, mp_context=context, max_tasks_per_child=1) as pool:
            for written in pool.map(partial(_record, folder, seconds, seed), cast):
                for split, length in written.items():
                    totals[split] += length
    except OSError as error:
        raise UserError(f"{folder}: cannot write speech: {error.strerror or error}; pass another --out") from error
    return totals


@dataclass(frozen=True)
class Splits:
    """The splits of the manifest that the demo trains and tests on, written as ``Manifest.open`` takes them."""

    raw: str
    """For pre-training, without transcripts."""
    transcribed: str
    test: str


def tree_and_held_out(root: Path) -> tuple[Path, float]:
    """Return the tree to prepare and the ``valid_percent`` that holds out a tenth of its speakers, at least one.

    If the root has a single split folder, that folder is the tree, so that its speakers are divided.
    """
    found = [item for item in scan_librispeech(root) if isinstance(item, Utterance)]
    splits = {utterance.split for utterance in found}
    if len(splits) == 1:
        root = root / splits.pop()
    fractions = sorted({speaker_fraction(utterance.speaker or utterance.id) for utterance in found})
    held_out = max(1, len(fractions) // 10)
    return root, 50.0 * sum(fractions[held_out - 1 : held_out + 1]) if len(fractions) > held_out else 0.0


def choose_splits(present: set[str], manifest: Path) -> Splits:
    """Choose splits by name: train* and unlabelled* to train on, and the first of test*, dev* and valid* to test on.

    Raises UserError if there is nothing to train or to test on.
    """
    train = sorted(split for split in present if split.startswith("train"))
    unlabelled = sorted(split for split in present if split.startswith("unlabelled"))
    for prefix in ("test", "dev", "valid"):
        test = sorted(split for split in present if split.startswith(prefix))
        if train and test:
            return Splits(raw="+".join(train + unlabelled), transcribed="+".join(train), test=test[0])
    raise UserError(
        f"{manifest}: its splits are {', '.join(sorted(present))}; the demo needs folders train* and test*, "
        "or one folder with at least two speakers"
    )
