"""From a recording and its text to the times of words and characters, by CTC forced alignment.

Frame f of the model sees samples 320 f to 320 f + 400 and stands for the 20 ms around the middle of this field:
(320 f + 200) / 16000 s, 10 ms to either side. A symbol begins where its first frame's 20 ms begin and ends where its
last frame's end, so that neighbours can touch and nothing has length zero; a word, with its first and last symbol.
(`Transcriber` gives the middles themselves, 10 ms inside of these.) CTC models write a symbol in one or two frames
where they recognise it, and blanks after it: times say where that is, and the end of a word is often early.

Memory: the emissions (T, V), float32, of what is aligned at a time, and the scores of `decode.align`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Failure, Recording, open_recording
from wav2vec2.decode.aligned_text import AlignedText, Span, align_text
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel, Frames
from wav2vec2.model.architecture import Architecture
from wav2vec2.output.alignment_files import Alignment, TimedSymbol, TimedWord
from wav2vec2.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from wav2vec2.model.ctc import Wav2Vec2ForCTC


class Aligner:
    """A CTC model with its vocabulary, ready for recordings and their texts; arguments as `AcousticModel`."""

    def __init__(
        self,
        model: "Wav2Vec2ForCTC | str | Path",
        *,
        vocabulary: Vocabulary | None = None,
        **computing: Any,
    ) -> None:
        self._acoustic = AcousticModel(model, vocabulary=vocabulary, **computing)
        self.architecture: Architecture = self._acoustic.architecture
        self.vocabulary = self._acoustic.vocabulary

    def __call__(self, audio: Any, text: str) -> Alignment:
        """Align `text` to a file, encoded bytes or a float array (16 kHz mono).

        Raises UserError if the recording cannot be read or the text cannot be aligned to it.
        """
        (result,) = self.stream([(open_recording(audio), text)])
        if isinstance(result, Failure):
            raise UserError(result.message)
        return result

    def stream(
        self,
        pairs: Iterable[tuple[Recording | Failure, str]],
        advance: Callable[[float], object] = lambda seconds: None,
    ) -> Iterator[Alignment | Failure]:
        """Yield one result for each recording and its text, in order; where that fails, a Failure, and the rest goes
        on. `advance` is told the seconds of each recording that has been heard.
        """
        texts: deque[str] = deque()

        def recordings() -> Iterator[Recording | Failure]:
            for recording, text in pairs:
                texts.append(text)
                yield recording

        for pool in self._acoustic.pools(recordings(), log_probs=True):
            for heard in pool:
                text = texts.popleft()
                if isinstance(heard, Failure):
                    yield heard
                    continue
                advance(heard.recording.samples / SAMPLE_RATE)
                yield self._align(heard, text)

    def _align(self, heard: Frames, text: str) -> Alignment | Failure:
        name = heard.recording.name
        assert heard.log_probs is not None
        try:
            aligned = align_text(heard.log_probs, text, self.vocabulary, name=name)
        except UserError as error:
            return Failure(name, str(error))
        return in_seconds(aligned, heard.recording, self.architecture, self.vocabulary)


def in_seconds(aligned: AlignedText, recording: Recording, a: Architecture, vocabulary: Vocabulary) -> Alignment:
    """Turn frames into seconds: each frame stands for one stride around the middle of its receptive field."""
    half = a.stride / 2 / SAMPLE_RATE

    def times(span: Span | None) -> tuple[float | None, float | None, float | None]:
        if span is None:
            return None, None, None
        return a.frame_center(span.first) - half, a.frame_center(span.last) + half, span.score

    words = tuple(
        TimedWord(word.text, *times(word.span), tuple(TimedSymbol(s.text, *times(s.span)) for s in word.symbols))
        for word in aligned.words
    )
    return Alignment(
        source=recording.name,
        seconds=recording.samples / SAMPLE_RATE,
        score=aligned.score,
        log_probability=aligned.log_probability,
        words=words,
        spaced=vocabulary.word_separator is not None or vocabulary.unit == "whitespace",
        unknown=aligned.unknown,
    )
