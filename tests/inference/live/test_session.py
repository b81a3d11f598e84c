"""Live sessions: events depend on the samples alone, committed words stay, and utterances end where the rules say."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bursts import VOCABULARY, burst, talkative
from tests.small_models import FAMILIES

from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.inference.live.encoder import LiveEncoder, _Scales
from wav2vec2.inference.live.events import LiveEvent
from wav2vec2.inference.live.open import open_session
from wav2vec2.inference.live.session import LiveSession
from wav2vec2.inference.live.settings import LiveSettings
from wav2vec2.inference.live.writer import GreedyWriter

FAST = LiveSettings(delay="low", chunk=0.3, left_context=0.6, longest=4.0, settled=0.5)


MODELS = {family: AcousticModel(talkative(family), compute=ComputeOptions(device="cpu")) for family in FAMILIES}


def silence(seconds: float) -> np.ndarray:
    return (1e-4 * np.random.default_rng(0).standard_normal(round(seconds * 16_000))).astype(np.float32)


class LoudnessEncoder(LiveEncoder):
    """Hears in each frame the symbol that the loudness of its centre stands for (see `spoken`)."""

    def log_probs(self, first: int) -> tuple[np.ndarray, torch.Tensor]:
        if not self._runs:
            return np.zeros(0, np.int64), torch.zeros(0, len(VOCABULARY))
        self._scales = _Scales(0.0, 1.0, None)
        numbers = np.concatenate([run.first + np.arange(run.frames(320, 400)) for run in self._runs])
        centres = np.concatenate([run.audio[200 + 320 * np.arange(run.frames(320, 400))] for run in self._runs])
        symbols = self.symbols(np.abs(centres))
        logits = 20.0 * torch.nn.functional.one_hot(torch.from_numpy(symbols), len(VOCABULARY)).float()
        shown = numbers >= first
        return numbers[shown], logits.log_softmax(-1)[torch.from_numpy(shown)]

    def symbols(self, loudness: np.ndarray) -> np.ndarray:
        return np.clip(np.round(100 * (loudness - 0.2)), 0, len(VOCABULARY) - 1).astype(int)


class NoiseHearingEncoder(LoudnessEncoder):
    """Hears letters in noise, too, as models do that heard none in training."""

    def symbols(self, loudness: np.ndarray) -> np.ndarray:
        return np.where((loudness > 0.002) & (loudness < 0.15), VOCABULARY.encode("X")[0], super().symbols(loudness))


def planted(hears: type[LoudnessEncoder] = LoudnessEncoder, **changes: float) -> LiveSession:
    """A session that writes what `spoken` says."""
    sizes = LiveSettings(**changes)  # type: ignore[arg-type]
    model = MODELS["group"]
    encoder = hears(model.model, model.device, sizes)  # type: ignore[arg-type]
    return LiveSession(encoder, GreedyWriter(VOCABULARY, model.architecture), VOCABULARY, sizes)


def spoken(text: str, *, hold: int = 4, blanks: int = 1) -> np.ndarray:
    """Audio whose frames have the loudness of a text's symbols, each followed by a blank that is loud, too."""
    frames = [index for index in VOCABULARY.encode(text) for index in [index] * hold + [0] * blanks]
    return np.repeat(np.float32(0.2) + np.array(frames, np.float32) / 100, 320)


def kinds(events: Sequence[LiveEvent], kind: str) -> list[str]:
    return [event.text for event in events if event.kind == kind]


@settings(max_examples=3, deadline=None)
@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=9).filter(lambda blocks: sum(blocks) > 500 * len(blocks)))
@pytest.mark.parametrize("family", list(FAMILIES))
def test_events_do_not_depend_on_the_blocks(family: str, blocks: list[int]) -> None:
    audio = np.concatenate([silence(0.4), burst(1.5, 1), silence(0.5), burst(0.3, 2), silence(0.9), burst(0.5, 3)])
    whole = open_session(MODELS[family], FAST)
    expected = whole.push(audio) + whole.finish()
    session = open_session(MODELS[family], FAST)
    events: list[LiveEvent] = []
    place = turn = 0
    while place < len(audio):
        size = blocks[turn % len(blocks)]
        events += session.push(audio[place : place + size])
        place, turn = place + size, turn + 1
    assert events + session.finish() == expected
    assert kinds(expected, "final")


@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("seed", range(2))
def test_committed_words_are_never_taken_back(family: str, seed: int) -> None:
    audio = np.concatenate([part for i in range(5) for part in (burst(0.4 + 0.4 * i, seed + i), silence(0.3 * i))])
    session = open_session(MODELS[family], FAST)
    events = session.push(audio) + session.finish()
    committed = [word for event in events if event.kind == "committed" for word in event.words]
    final = [word for event in events if event.kind == "final" for word in event.words]
    assert len(committed) > 5
    assert committed == final
    ends = [word.end for word in committed]
    assert ends == sorted(ends)
    for event in events:
        assert all(word.end <= event.heard + 0.02 for word in event.words)


def test_words_have_the_times_and_the_text_of_what_was_said() -> None:
    session = planted()
    audio = np.concatenate([silence(1.0), spoken("THE QUICK FOX"), silence(1.5)])
    events = session.push(audio) + session.finish()
    assert kinds(events, "final") == ["THE QUICK FOX"]
    (final,) = [event for event in events if event.kind == "final"]
    # each symbol has four frames and a blank: THE starts with the speech, QUICK after 4 symbols, FOX after 10
    starts = [word.start for word in final.words]
    assert np.allclose(starts, [1.0, 1.0 + 4 * 0.1, 1.0 + 10 * 0.1], atol=0.021)
    assert all(word.confidence is not None and word.confidence > 0.9 for word in final.words)


@pytest.mark.parametrize("delay", ["minimal", "medium", "high"])
def test_a_word_is_committed_within_the_latency(delay: str) -> None:
    session = planted(delay=delay)  # type: ignore[arg-type]
    audio = np.concatenate([silence(0.5), spoken("THE QUICK BROWN FOX JUMPS OVER A LAZY DOG " * 3), silence(1.0)])
    events = [event for start in range(0, len(audio), 160) for event in session.push(audio[start : start + 160])]
    committed = [(word, event.heard) for event in events if event.kind == "committed" for word in event.words]
    assert len(committed) == 27
    for word, heard in committed:
        # its separator is a symbol later
        assert heard - word.end <= session.settings.latency + 0.15


def test_an_utterance_ends_after_silence_and_its_text_comes_soon() -> None:
    session = planted()
    audio = np.concatenate([silence(0.5), spoken("LAZY DOG"), silence(5.0), spoken("A FOX"), silence(0.5)])
    events = session.push(audio)
    assert kinds(events, "final") == ["LAZY DOG"]
    (final,) = [event for event in events if event.kind == "final"]
    # the last 20 ms of a word begin where its sound may have ended
    assert 0.77 <= final.heard - final.words[-1].end <= 0.9
    assert kinds(session.flush(), "final") == ["A FOX"]
    assert session.flush() == []


def test_before_a_pause_everything_is_committed_at_once() -> None:
    events = planted().push(np.concatenate([spoken("LAZY DOG"), silence(0.5), spoken("A FOX"), silence(1.0)]))
    committed = [(event.text, event.heard) for event in events if event.kind == "committed"]
    assert committed[0][0] == "LAZY DOG"
    assert committed[0][1] == pytest.approx(0.8 + 0.3, abs=0.03)
    assert kinds(events, "final") == ["LAZY DOG A FOX"]


def test_a_short_pause_ends_a_word_and_no_utterance() -> None:
    events = planted().push(np.concatenate([spoken("LAZY"), silence(0.5), spoken("DOG"), silence(1.0)]))
    assert kinds(events, "final") == ["LAZY DOG"]


def test_silence_in_which_the_model_hears_symbols_ends_nothing() -> None:
    session = planted()
    quiet = silence(1.4)
    quiet[200::320] = 0.2 + 0.01 * VOCABULARY.symbols.index("A")  # one sample a frame: too little energy for speech
    events = session.push(np.concatenate([spoken("LAZY DOG"), quiet]))
    assert kinds(events, "final") == []
    assert kinds(session.push(silence(1.2)), "final")[0].startswith("LAZY DOGA")


class ShiftingEncoder(LoudnessEncoder):
    """Hears every symbol a frame later in every second pass, as models do near the end of what they hear."""

    passes = 0

    def log_probs(self, first: int) -> tuple[np.ndarray, torch.Tensor]:
        numbers, log_probs = super().log_probs(first)
        self.passes += 1
        return numbers, torch.cat([log_probs[:1], log_probs[:-1]]) if self.passes % 2 else log_probs


def test_no_symbol_is_doubled_or_lost_at_the_border_of_two_passes() -> None:
    text = " ".join(["THE QUICK BROWN FOX JUMPS OVER A LAZY DOG"] * 2)
    audio = np.concatenate([spoken(text, hold=2, blanks=3), silence(1.0)])
    for offset in range(0, 2560, 320):
        session = planted()
        session._encoder = ShiftingEncoder(session._encoder.model, session._encoder.device, session.settings)
        assert kinds(session.push(np.concatenate([silence(0.5), audio[offset:]])), "final")[0].endswith(text[12:])


@pytest.mark.parametrize("pause", [0.5, 0.7, 1.5])
@pytest.mark.parametrize("level", [-30, -45, -60])
def test_what_a_model_hears_in_steady_noise_is_no_word(level: int, pause: float) -> None:
    session = planted(NoiseHearingEncoder, margin=0.0)
    rng = np.random.default_rng(-level)
    parts = [silence(0.5)]
    for text in ("LAZY DOG", "A FOX", "QUICK"):
        noise = 10 ** (level / 20) * rng.standard_normal(round(16_000 * pause))
        parts += [spoken(text), noise.astype(np.float32)]
    events = session.push(np.concatenate([*parts, silence(1.0)])) + session.finish()
    text = " ".join(event.text for event in events if event.kind == "committed")
    # The frame at either end of a word reaches into the noise.
    assert [word.strip("X") for word in text.split()] == ["LAZY", "DOG", "A", "FO", "QUICK"]


def test_noise_without_words_says_nothing() -> None:
    session = planted()
    # speech to the detector, but every frame's centre is silent
    noise = burst(2.0, 4)
    for frame in range(len(noise) // 320):
        noise[frame * 320 + 190 : frame * 320 + 211] = 0
    assert session.push(np.concatenate([silence(1), noise, silence(4)])) + session.finish() == []


def test_a_long_utterance_is_cut_between_words_and_its_memory_is_bounded() -> None:
    session = planted(longest=5.0, left_context=2.0)
    text = " ".join(["THE QUICK BROWN FOX JUMPS OVER A LAZY DOG"] * 8)
    events = session.push(np.concatenate([spoken(text), silence(1.0)]))
    finals = kinds(events, "final")
    assert " ".join(finals) == text
    assert len(finals) >= 6
    assert all(event.words[-1].end - event.words[0].start <= 5.1 for event in events if event.kind == "final")
    encoder = session._encoder
    assert sum(len(run.audio) for run in encoder._runs) + len(session._samples) < 8 * 16_000


def test_tentative_words_are_those_on_which_two_passes_agree() -> None:
    session = planted(delay="xhigh")  # type: ignore[arg-type]
    events = session.push(np.concatenate([spoken("THE QUICK BROWN FOX JUMPS OVER A LAZY DOG"), silence(1.0)]))
    shown = kinds(events, "tentative")
    assert shown
    assert shown[0].startswith("THE")
    said = ["THE", "QUICK", "BROWN", "FOX", "JUMPS", "OVER", "A", "LAZY", "DOG"]
    assert all(set(text.split()) <= set(said) for text in shown)


@pytest.mark.parametrize(
    "samples", [np.zeros((2, 100), np.float32), np.zeros(10, np.int16), np.full(10, np.nan, np.float32)]
)
def test_samples_of_another_kind_are_refused(samples: np.ndarray) -> None:
    with pytest.raises(UserError, match="live: samples"):
        open_session(MODELS["group"], FAST).push(samples)


@pytest.mark.parametrize(
    "sizes",
    [
        {"delay": "never"},
        {"chunk": 0.0},
        {"chunk": float("nan")},
        {"left_context": 1e9},
        {"longest": 1.0},
        {"margin": 1},
    ],
)
def test_impossible_sizes_are_refused(sizes: dict[str, float]) -> None:
    with pytest.raises(UserError):
        LiveSettings(**sizes)  # type: ignore[arg-type]


def test_low_latency_asks_for_a_model_of_its_own() -> None:
    assert LiveSettings().advice() is None
    assert LiveSettings().latency == pytest.approx(2.24)
    assert "trained on chunks" in (LiveSettings(delay="minimal").advice() or "")
