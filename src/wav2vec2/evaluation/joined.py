"""Long recordings joined from a manifest's utterances, and how many words a recogniser gets wrong in them.

The utterances of a speaker follow one another, with pauses of noise as quiet as the quietest of the utterance before.
By this, `wav2vec2 tune` chooses how recordings are cut into pieces.
"""

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wav2vec2.audio.pauses import frame_energies
from wav2vec2.audio.pieces import PieceRules
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Failure, Recording, Waveform
from wav2vec2.data.utterance import Utterance
from wav2vec2.data.waveforms import read_utterance
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.inference.windows import PieceSettings, Statistics
from wav2vec2.text.error_rate import ErrorCounts

PAUSE_SECONDS = (0.3, 1.5)
"""Pauses between joined utterances, the shortest and the longest."""
MARGINS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.3)
PAUSES = (0.15, 0.3, 0.6, 1.0)
STATISTICS: tuple[Statistics, ...] = ("piece", "recording")

CountErrors = Callable[[str, str], ErrorCounts]
"""Errors of a hypothesis (second) against its reference."""


@dataclass(frozen=True)
class Joined:
    """Utterances joined to one recording, and their transcripts."""

    recording: Recording
    texts: tuple[str, ...]

    @property
    def text(self) -> str:
        """All that is said."""
        return " ".join(self.texts)


def joined(utterances: Iterable[Utterance], *, seconds: float, most_seconds: float, seed: int = 0) -> Iterator[Joined]:
    """Join the transcribed utterances of each speaker to recordings of about `seconds`, `most_seconds` in all.

    A recording ends when it has `seconds` or its speaker has no more. The result depends on `seed` and the utterances
    alone.
    """
    random = np.random.default_rng(seed)
    by_speaker = sorted((row for row in utterances if row.text is not None), key=lambda row: row.speaker)
    left = most_seconds
    for speaker, group in itertools.groupby(by_speaker, key=lambda row: row.speaker):
        rows: list[Utterance] = []
        pauses: list[int] = []
        number = 0
        for row in group:
            rows.append(row)
            pauses.append(int(random.uniform(*PAUSE_SECONDS) * SAMPLE_RATE))
            if sum(one.samples for one in rows) + sum(pauses) >= seconds * SAMPLE_RATE:
                number += 1
                yield _one(f"{speaker} {number}", rows, pauses)
                left -= seconds
                rows, pauses = [], []
            if left <= 0:
                return
        if rows:
            yield _one(f"{speaker} {number + 1}", rows, pauses)
            left -= (sum(one.samples for one in rows) + sum(pauses)) / SAMPLE_RATE


def _one(name: str, rows: list[Utterance], pauses: list[int]) -> Joined:
    lengths = [row.samples + pause for row, pause in zip(rows, pauses, strict=True)]
    starts = np.cumsum([0, *lengths])

    def read(start: int, count: int) -> Waveform:
        parts = []
        for place, (row, pause) in enumerate(zip(rows, pauses, strict=True)):
            if starts[place] < start + count and starts[place + 1] > start:
                first, last = max(0, start - starts[place]), start + count - starts[place]
                parts.append(_with_pause(row, pause, place)[first:last])
        return np.concatenate(parts)

    return Joined(Recording(name, int(starts[-1]), read), tuple(row.text or "" for row in rows))


def _with_pause(row: Utterance, samples: int, seed: int) -> Waveform:
    waveform = read_utterance(row)
    noise = np.random.default_rng(seed).standard_normal(samples) * quietest(waveform)
    return np.concatenate([waveform, noise.astype(np.float32)])


def quietest(waveform: Waveform) -> float:
    """Return the root mean square of noise as quiet as the quietest of an utterance: its frames' 2nd percentile."""
    return float(10.0 ** (np.percentile(frame_energies(waveform), 2) / 20))


def joined_errors(
    model: AcousticModel, recordings: Sequence[Joined], settings: PieceSettings, count: CountErrors
) -> ErrorCounts:
    """Count the errors of greedy decoding in joined recordings that are cut as `settings` say.

    Raises UserError if one of them cannot be read.
    """
    total = ErrorCounts()
    transcriber = Transcriber(model, lm="none")
    transcriber.tuned = settings
    results = transcriber.stream(one.recording for one in recordings)
    for one, result in zip(recordings, results, strict=True):
        if isinstance(result, Failure):
            raise UserError(result.message)
        total += count(one.text, result.text)
    return total


def best_settings(
    model: AcousticModel,
    recordings: Sequence[Joined],
    count: CountErrors,
    told: Callable[[PieceSettings, ErrorCounts], object] = lambda settings, errors: None,
) -> tuple[PieceSettings, ErrorCounts]:
    """Return the settings with the fewest errors: of margin and statistics with the usual pause, then of the pause.

    What is used without a choice is tried first.
    told: called after each trial. Equal ones: the first.
    """
    tried: dict[PieceSettings, ErrorCounts] = {}

    def trial(settings: PieceSettings) -> None:
        if settings not in tried:
            tried[settings] = joined_errors(model, recordings, settings, count)
            told(settings, tried[settings])

    usual = model.piece_rules(PieceSettings()) or PieceRules()
    trial(PieceSettings(pause=usual.pause, margin=usual.margin, statistics=STATISTICS[0]))
    for statistics, margin in itertools.product(STATISTICS, MARGINS):
        trial(PieceSettings(pause=usual.pause, margin=margin, statistics=statistics))
    best = min(tried, key=lambda one: tried[one].errors)
    for pause in PAUSES:
        trial(PieceSettings(pause=pause, margin=best.margin, statistics=best.statistics))
    best = min(tried, key=lambda one: tried[one].errors)
    return best, tried[best]


def settings_line(settings: PieceSettings) -> str:
    """Return settings in words."""
    return f"pause {settings.pause:g} s, margin {settings.margin:g} s, statistics of the {settings.statistics}"


def print_trial(settings: PieceSettings, errors: ErrorCounts) -> None:
    """Print a trial of `best_settings` to stderr."""
    print(f"pieces: {100 * errors.rate:.2f} % with {settings_line(settings)}", file=sys.stderr)
