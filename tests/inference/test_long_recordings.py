"""Recordings that are longer than what a model has heard: cut at pauses, decoded as they are read.

`LoudnessCTC` plants the emissions: each frame says the symbol that its audio spells, wherever the frame is cut out.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.inference.spoken_symbols import LOUDNESS, VOCABULARY, LoudnessCTC, spoken

from wav2vec2.audio.recordings import Failure, Recording
from wav2vec2.decode.search import LONGEST_FRAMES
from wav2vec2.errors import FileWarning, UserError
from wav2vec2.inference.chunks import TranscribedPiece
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.output.transcript import Transcript

SENTENCES = ["THE QUICK BROWN FOX", "JUMPS OVER", "A LAZY DOG'S", "BOX"]


def with_pauses(sentences: list[str], seconds: list[float]) -> np.ndarray:
    parts = []
    for sentence, pause in zip(sentences, seconds, strict=True):
        symbols = [*VOCABULARY.encode(sentence), VOCABULARY.symbols.index("|")]
        frames = [symbol for index in symbols for symbol in (*[index] * 3, 0)]
        said = np.repeat(np.array(frames, np.float32) * LOUDNESS, 320)
        parts += [np.zeros(int(pause * 50) * 320, np.float32), said]
    return np.concatenate([*parts, np.zeros(400, np.float32)])


def words_of(transcript: Transcript) -> list[tuple[str, float, float]]:
    return [(word.text, round(word.start, 6), round(word.end, 6)) for word in transcript.words]


def same_words(some: Transcript, others: Transcript) -> bool:
    """Whether words and times are equal: to half a frame, since a piece has frames of its own."""
    pairs = list(zip(words_of(some), words_of(others), strict=False))
    close = all(abs(a[1] - b[1]) < 0.0101 and abs(a[2] - b[2]) < 0.0101 for a, b in pairs)
    return close and [word.text for word in some.words] == [word.text for word in others.words]


def test_a_recording_is_cut_at_its_pauses_and_long_silence_left_out() -> None:
    audio = with_pauses(SENTENCES, [0.0, 1.0, 30.0, 0.6])
    model = LoudnessCTC()
    cut = Transcriber(model, device="cpu", longest_piece=2.5)(audio)
    whole = Transcriber(LoudnessCTC(), device="cpu", longest_piece=1000.0)(audio)
    assert cut.text == whole.text == " ".join(SENTENCES)
    assert same_words(cut, whole)
    assert cut.seconds == len(audio) / 16_000
    assert len(model.shapes) == 1
    rows, longest = model.shapes[0]
    assert rows == len(SENTENCES)
    assert longest <= 2.5 * 16_000


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=5),
    st.lists(st.sampled_from([0.0, 0.2, 0.5, 3.0]), min_size=5, max_size=5),
    st.floats(0.5, 4.0),
    st.floats(0.0, 0.3),
)
def test_no_word_is_lost_or_doubled_at_a_seam(
    sentences: list[str], pauses: list[float], longest: float, context: float
) -> None:
    joined, before = [sentences[0]], [pauses[0]]
    for sentence, pause in zip(sentences[1:], pauses[1:], strict=False):
        if pause:
            joined, before = [*joined, sentence], [*before, pause]
        else:
            joined[-1] += f" {sentence}"
    # A second of silence tells the quietest letters from it. Without any, they could be taken for pauses.
    audio = np.pad(with_pauses(joined, before), (0, 16_000))
    whole = Transcriber(LoudnessCTC(), device="cpu", longest_piece=1000.0)(audio)
    sizes = {"window_seconds": 5.0, "context_seconds": context, "batch_seconds": 3.0}
    cut = Transcriber(LoudnessCTC(), device="cpu", longest_piece=longest, margin=0.0, **sizes)(audio)  # type: ignore[arg-type]
    assert same_words(cut, whole)
    assert cut.text.split() == whole.text.split()


def test_what_a_model_has_heard_is_its_longest_piece() -> None:
    model = LoudnessCTC()
    model.longest_heard = 1.0  # type: ignore[assignment]
    Transcriber(model, device="cpu")(with_pauses(SENTENCES, [0.0, 0.5, 0.5, 0.5]))
    assert max(samples for _, samples in model.shapes) <= 16_000


def test_a_language_model_goes_on_from_piece_to_piece(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("THE\nFOX\nLAZY\n")
    audio = with_pauses(["THE LAZY FOX", "LAZY FOX", "FOX THE"] * 3, [0.5] * 9)
    search = {"lexicon": words, "lm_weight": 0.0, "word_score": 0.0, "workers": 0, "nbest": 2}
    with Transcriber(LoudnessCTC(), device="cpu", longest_piece=2.0, **search) as transcriber:  # type: ignore[arg-type]
        found = transcriber(audio)
    assert found.text == " ".join(["THE LAZY FOX LAZY FOX FOX THE"] * 3)
    assert found.nbest[0].text == found.text
    assert len(found.nbest) == 2
    greedy = Transcriber(LoudnessCTC(), device="cpu", longest_piece=2.0)(audio)
    assert words_of(found) == words_of(greedy)


def test_pieces_come_while_the_recording_is_still_being_read() -> None:
    minute = with_pauses(SENTENCES, [14.0, 14.0, 14.0, 11.0])[: 60 * 16_000]
    read: list[int] = []

    def reading(start: int, count: int) -> np.ndarray:
        read.append(start)
        return np.pad(minute, (0, 60 * 16_000 - len(minute)))[:count]

    recording = Recording("tape", 600 * 60 * 16_000, reading)
    transcriber = Transcriber(LoudnessCTC(), device="cpu", batch_seconds=5.0, margin=0.05)
    results = transcriber.stream_pieces([recording])
    pieces = list(itertools.islice(results, 4))
    assert [piece.text for piece in pieces if isinstance(piece, TranscribedPiece)] == SENTENCES
    assert len(read) < 60
    assert pieces[2].start == pytest.approx(pieces[2].words[0].start, abs=0.1)  # type: ignore[union-attr]
    results.close()  # type: ignore[attr-defined]


def test_speech_without_end_is_decoded_a_minute_at_a_time() -> None:
    sentence = "THE QUICK BROWN FOX JUMPS OVER A LAZY DOG'S"
    count = 3 * LONGEST_FRAMES // (len(spoken(sentence)) // 320)
    pieces = list(Transcriber(LoudnessCTC(), device="cpu").pieces(spoken(" ".join([sentence] * count))))
    assert len(pieces) >= 3
    assert max(piece.end - piece.start for piece in pieces) <= 0.02 * LONGEST_FRAMES + 0.1
    texts = " ".join(piece.text for piece in pieces).split()
    assert texts == sentence.split() * count


def test_a_reading_that_fails_later_keeps_what_was_heard() -> None:
    minute = np.pad(with_pauses(SENTENCES, [0.0, 1.0, 1.0, 1.0]), (0, 60 * 16_000))[: 60 * 16_000]

    def reading(start: int, count: int) -> np.ndarray:
        return minute[:count] if start < 120 * 16_000 else minute[:5]

    recording = Recording("tape", 300 * 16_000, reading)
    *pieces, failure = Transcriber(LoudnessCTC(), device="cpu").stream_pieces([recording])
    assert isinstance(failure, Failure)
    assert "tape: ends before" in failure.message
    assert [piece.text for piece in pieces if isinstance(piece, TranscribedPiece)] == SENTENCES * 2
    with pytest.raises(UserError, match="tape"):
        Transcriber(LoudnessCTC(), device="cpu")([recording])  # type: ignore[list-item]


def test_a_file_that_is_cut_short_gives_its_words_and_both_lengths(tmp_path: Path) -> None:
    path = tmp_path / "half.wav"
    soundfile.write(path, np.tile(with_pauses(SENTENCES, [0.0, 1.0, 1.0, 1.0]), 8), 16_000, subtype="FLOAT")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    promised, there = len(content) / 4 / 16_000, len(content) / 8 / 16_000
    with pytest.warns(FileWarning, match=rf"promises {promised:.1f} s; the {there:.1f} s that are there are read"):
        found = Transcriber(LoudnessCTC(), device="cpu")(path)
    assert found.text.split()[: 4 * 2] == " ".join(SENTENCES).split()[:8]
    assert "promises" in found.warning


def files(folder: Path, audio: np.ndarray) -> Iterator[Path]:
    for suffix in ("wav", "flac"):
        soundfile.write(folder / f"a.{suffix}", audio, 16_000)
        yield folder / f"a.{suffix}"


def test_files_are_read_as_arrays_are(tmp_path: Path) -> None:
    audio = with_pauses(SENTENCES, [1.0, 0.5, 2.0, 0.4])
    transcriber = Transcriber(LoudnessCTC(), device="cpu", longest_piece=2.0)
    for path in files(tmp_path, audio):
        assert words_of(transcriber(path)) == words_of(transcriber(audio))
        assert transcriber(path).seconds == len(audio) / 16_000
