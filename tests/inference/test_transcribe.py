from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tests.inference.spoken_symbols import TEXTS, VOCABULARY, LoudnessCTC, spoken, write
from tests.small_models import FAMILIES, recognizer

from wav2vec2.audio.recordings import Failure, open_recording
from wav2vec2.errors import UserError
from wav2vec2.inference import acoustic_model
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.text.vocabulary import Vocabulary

CPU = ComputeOptions(device="cpu")


def test_files_arrays_bytes_lists_and_folders(folder: Path) -> None:
    transcriber = Transcriber(LoudnessCTC(), device="cpu")
    assert transcriber(folder / "0.wav").text == "THE FOX"
    assert transcriber(str(folder / "1.wav")).text == "A"
    assert transcriber((folder / "3.wav").read_bytes()).text == "JUMPS OVER"
    assert transcriber(spoken("DOG'S")).text == "DOG'S"
    assert transcriber(torch.from_numpy(spoken("LAZY"))).text == "LAZY"
    assert [result.text for result in transcriber([folder])] == TEXTS
    assert [result.text for result in transcriber([folder / "0.wav", str(folder)])] == ["THE FOX", *TEXTS]
    assert [result.text for result in transcriber([spoken(text) for text in TEXTS])] == TEXTS
    assert transcriber([]) == []
    with pytest.raises(UserError, match=r"is a folder; .* give a list"):
        transcriber(folder)


def test_a_word_lasts_from_its_first_frame_to_the_end_of_its_last() -> None:
    result = Transcriber(LoudnessCTC(), device="cpu")(spoken("A FOX"))
    # A: frames 0-2, blank 3, | 4-6, blank 7, F 8-10 ... X 16-18.
    assert [word.text for word in result.words] == ["A", "FOX"]
    times = [(word.start, word.end) for word in result.words]
    assert times == [((320 * a + 40) / 16_000, (320 * b + 360) / 16_000) for a, b in ((0, 2), (8, 18))]
    assert result.seconds == pytest.approx(len(spoken("A FOX")) / 16_000)
    assert result.score < 0


def test_greedy_words_have_confidences_and_progress_is_told() -> None:
    told: list[float] = []
    audio = [spoken("A FOX"), spoken("THE LAZY FOX")]
    transcriber = Transcriber(
        LoudnessCTC(), device="cpu", window_seconds=0.5, context_seconds=0.1, batch_seconds=0.5, pieces="none"
    )
    results = [result for result in transcriber.stream(audio, told.append) if not isinstance(result, Failure)]
    assert all(0 < word.confidence <= 1 for result in results for word in result.words if word.confidence is not None)
    assert all(word.confidence is not None for result in results for word in result.words)
    assert len(told) > 2
    assert sum(told) == pytest.approx(sum(map(len, audio)) / 16_000)


def test_symbols_are_words_where_there_is_no_separator() -> None:
    vocabulary = Vocabulary.from_transcripts(["dh ax k"], unit="whitespace")
    result = Transcriber(LoudnessCTC(vocabulary), vocabulary=vocabulary, device="cpu")(spoken("k ax", vocabulary))
    assert result.text == "k ax"
    assert [word.text for word in result.words] == ["k", "ax"]


@pytest.mark.parametrize("samples", [0, 1, 399, 400])
def test_too_short_audio_has_an_empty_text(samples: int) -> None:
    result = Transcriber(LoudnessCTC(), device="cpu")(np.zeros(samples, dtype=np.float32))
    assert (result.text, result.words) == ("", ())
    assert result.seconds == samples / 16_000


def test_windows_give_what_one_pass_gives_and_bound_the_batch(tmp_path: Path) -> None:
    text = " ".join(["THE QUICK BROWN FOX JUMPS OVER A LAZY DOG'S"] * 6)
    path = write(tmp_path / "long.wav", spoken(text, hold=4))
    whole = Transcriber(LoudnessCTC(), device="cpu", pieces="none", window_seconds=1000)(path)
    model = LoudnessCTC()
    sizes = {"window_seconds": 1.5, "context_seconds": 0.31, "batch_seconds": 4.0}
    cut = Transcriber(model, device="cpu", pieces="none", **sizes)(path)
    assert (cut.text, cut.words) == (text, whole.words)
    assert cut.score == pytest.approx(whole.score)
    assert max(rows * samples for rows, samples in model.shapes) <= 4 * 16_000
    assert len({samples for _, samples in model.shapes}) == 1


def test_results_keep_their_order_and_failures_their_place(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFFnothing")
    nan = np.full(800, np.nan, dtype=np.float32)
    sources = [spoken("LAZY DOG'S"), tmp_path / "bad.wav", spoken("A"), nan, np.zeros((2, 800)), spoken("FOX")]
    transcriber = Transcriber(LoudnessCTC(), device="cpu", batch_seconds=0.1)
    results = list(transcriber.stream(sources))
    texts = [None if isinstance(result, Failure) else result.text for result in results]
    assert texts == ["LAZY DOG'S", None, "A", None, None, "FOX"]
    messages = [result.message for result in results if isinstance(result, Failure)]
    assert all("\n" not in message for message in messages)
    assert "bad.wav" in messages[0]
    assert "not finite" in messages[1]
    assert "mono float" in messages[2]
    with pytest.raises(UserError, match="mono float"):
        transcriber([np.zeros((2, 800))])


def test_a_small_pool_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acoustic_model, "_POOL_RECORDINGS", 2)
    opened: list[int] = []

    def recordings():  # type: ignore[no-untyped-def]
        for number, text in enumerate(TEXTS * 3):
            opened.append(number)
            yield open_recording(spoken(text))

    stream = Transcriber(LoudnessCTC(), device="cpu").stream(recordings())
    first = next(stream)
    assert not isinstance(first, Failure)
    assert first.text == TEXTS[0]
    assert len(opened) <= 4  # one pool is computed, one is read ahead
    assert [result.text for result in stream if not isinstance(result, Failure)] == (TEXTS * 3)[1:]


def test_unusable_models_are_refused() -> None:
    with pytest.raises(UserError, match="no CTC head"):
        Transcriber(torch.nn.Linear(1, 1))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no vocabulary"):
        Transcriber(LoudnessCTC(None))
    with pytest.raises(UserError, match="context_seconds"):
        Transcriber(LoudnessCTC(), window_seconds=1, context_seconds=1)
    with pytest.raises(UserError, match="batch_seconds must be positive"):
        Transcriber(LoudnessCTC(), batch_seconds=float("nan"))
    with pytest.raises(UserError, match="not usable"):
        Transcriber(LoudnessCTC(), device="nonsense")
    small = Vocabulary(("<pad>", "A"), unknown=None, word_separator=None)
    with pytest.raises(UserError, match="head"):
        Transcriber(LoudnessCTC(), vocabulary=small)(spoken("A"))


@pytest.mark.parametrize("family", FAMILIES)
def test_tiny_model_alone_in_a_batch_and_from_disk(tmp_path: Path, family: str) -> None:
    from wav2vec2.checkpoints.huggingface.directory import save

    model = recognizer(FAMILIES[family], VOCABULARY)
    save(model, tmp_path / "model")
    random = np.random.default_rng(0)
    audio = [0.1 * random.standard_normal(n).astype(np.float32) for n in (9_000, 16_123, 4_000, 300)]
    transcriber = Transcriber(tmp_path / "model", device="cpu")
    together = transcriber(audio)
    assert [transcriber(one).text for one in audio] == [result.text for result in together]
    assert together[0].text
    assert together[3].text == ""
    assert transcriber.vocabulary == VOCABULARY


@pytest.mark.speech
def test_real_speech_is_read_in_windows_as_in_one_piece(speech_root: Path) -> None:
    path = next(speech_root.glob("test-clean/*/*/*.flac"))
    samples, _ = soundfile.read(path, dtype="float32")
    expected = Transcriber(LoudnessCTC(), device="cpu", window_seconds=60)(samples)
    sizes = {"window_seconds": 1.0, "context_seconds": 0.1}
    cut = Transcriber(LoudnessCTC(), device="cpu", pieces="none", **sizes)(path)  # type: ignore[arg-type]
    assert (cut.text, cut.words) == (expected.text, expected.words)
    assert expected.text


def test_a_search_in_python_and_its_mistakes(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("THE\nFOX\n\u00dcBER\n")
    with Transcriber(LoudnessCTC(), device="cpu", lexicon=words, workers=0) as transcriber:
        assert transcriber(spoken("THE BOX")).text == "THE FOX"
        assert transcriber(spoken("A")[:399]).text == ""
        many = transcriber([spoken("THE"), spoken("FOX THE"), spoken("THE")[:399]])
    assert [result.text for result in many] == ["THE", "FOX THE", ""]
    with pytest.raises(TypeError, match="beams"):
        Transcriber(LoudnessCTC(), device="cpu", beams=3)


def test_words_that_cannot_be_spelled_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = tmp_path / "words.txt"
    words.write_text("THE\nFOX\n\u00dcBER\n", encoding="utf-8")
    Transcriber(LoudnessCTC(), device="cpu", lexicon=words, workers=0)
    assert "1 of 3 words cannot be spelled with the vocabulary and are left out: \u00dcBER" in capsys.readouterr().err


def test_windows_of_log_probabilities_are_joined(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("THE\nFOX\nLAZY\n")
    audio = spoken(" ".join(["THE LAZY FOX"] * 6))
    sizes = {"window_seconds": 1.0, "context_seconds": 0.2, "device": "cpu"}
    search = {"lexicon": words, "workers": 0, "lm_weight": 0.0, "word_score": 0.0}
    result = Transcriber(LoudnessCTC(), **sizes, **search)(audio)  # type: ignore[arg-type]
    greedy = Transcriber(LoudnessCTC(), **sizes)(audio)  # type: ignore[arg-type]
    assert result.text == greedy.text == " ".join(["THE LAZY FOX"] * 6)
    assert [(word.start, word.end) for word in result.words] == [(word.start, word.end) for word in greedy.words]
