"""A live session: samples in, events out.

An utterance begins with speech and ends after silence. While it lasts, the model runs once for every chunk over the
frames in view; frames that are older than the look-ahead are committed, and of the others those words are shown on
which two passes agree. Every decision falls at a hop of 10 ms of the stream, so that the events depend on the samples
alone, and not on the blocks in which they come.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch

from wav2vec2.audio.pauses import HOP
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.speech_activity import ActivityDetector, EnergyDetector
from wav2vec2.errors import UserError
from wav2vec2.inference.live.encoder import LiveEncoder
from wav2vec2.inference.live.events import EventKind, LiveEvent
from wav2vec2.inference.live.settings import LiveSettings
from wav2vec2.inference.live.speech import SpeechTracker, hops
from wav2vec2.inference.live.writer import Part, Writer
from wav2vec2.output.transcript import Word
from wav2vec2.text.vocabulary import Vocabulary

_BLOCK = SAMPLE_RATE
_BLANK_SHARE = 0.98
_BORDER = 8  # frames
_LATE = hops(0.2)  # a model may write a symbol this much after its sound
_BOUNDARY = hops(0.3)  # no word has a longer silence inside


class LiveSession:
    """Recognises one stream.

    encoder, writer, vocabulary: of one model. detector: tells speech from silence. `push` and `flush` return events;
    memory and the work for a second of audio do not grow with the stream.
    """

    def __init__(
        self,
        encoder: LiveEncoder,
        writer: Writer,
        vocabulary: Vocabulary,
        settings: LiveSettings,
        detector: ActivityDetector | None = None,
    ) -> None:
        self.settings = settings
        self._encoder, self._writer, self._vocabulary = encoder, writer, vocabulary
        a = encoder.model.architecture
        self._stride, self._field = a.stride, a.receptive_field
        self._left, self._ahead = (settings.frames(s, a) for s in (settings.left_context, settings.look_ahead))
        self._detector = detector or EnergyDetector()
        self._tracker = SpeechTracker(settings)
        self._samples, self._origin = np.zeros(0, np.float32), 0
        self._silent = {vocabulary.blank}
        if vocabulary.word_separator is not None:
            self._silent.add(vocabulary.symbols.index(vocabulary.word_separator))
        self._begin_utterance()

    def push(self, samples: np.ndarray) -> list[LiveEvent]:
        """Hear more samples, mono float at 16 kHz of shape (S,), any number of them; return what follows from them.

        Raises UserError for samples of another shape or kind, or that are not finite.
        """
        array = np.asarray(samples)
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.floating):
            given = f"{array.dtype} of shape {array.shape}"
            raise UserError(f"live: samples are {given}; give mono float samples in [-1, 1] at 16 kHz")
        if not np.isfinite(array).all():
            raise UserError("live: samples are not finite; check the source of the audio")
        return [event for begin in range(0, len(array), _BLOCK) for event in self._hear(array[begin : begin + _BLOCK])]

    def flush(self) -> list[LiveEvent]:
        """End the utterance now, without waiting for silence; return what follows. The stream may go on."""
        return list(self._close()) if self._tracker.stretches else []

    def finish(self) -> list[LiveEvent]:
        """End the stream: the same as `flush`."""
        return self.flush()

    @property
    def heard(self) -> float:
        """Seconds of the stream on which decisions were taken."""
        return self._tracker.now * HOP / SAMPLE_RATE

    @property
    def speaking(self) -> float | None:
        """When the utterance began that has not ended, in seconds of the stream; None between utterances."""
        return self._tracker.begin * HOP / SAMPLE_RATE if self._tracker.stretches else None

    def _begin_utterance(self) -> None:
        self._encoder.restart()
        self._words: list[Word] = []
        self._committed = self._begin = 0  # frames below these numbers are committed, or not heard by the model
        self._last_pass = self._tracker.now
        self._numbers, self._log_probs = np.zeros(0, np.int64), torch.zeros(0, len(self._vocabulary))
        self._candidate: list[Word] = []
        self._shown: tuple[Word, ...] = ()

    def _hear(self, block: np.ndarray) -> Iterator[LiveEvent]:
        self._samples = np.concatenate([self._samples, block.astype(np.float32, copy=False)])
        for speech, energy in zip(*self._detector.push(block), strict=True):
            idle = not self._tracker.stretches
            self._tracker.step(bool(speech), float(energy))
            if self._tracker.stretches:
                if idle:
                    self._last_pass = self._tracker.begin
                yield from self._decide()
        if not self._tracker.stretches:
            self._drop_samples(self._tracker.now - hops(1.0))

    def _decide(self) -> Iterator[LiveEvent]:
        tracker, settings = self._tracker, self.settings
        silence = tracker.silence
        asked = silence % hops(settings.after_word) == 0 or silence == hops(settings.without_word)
        if silence and asked:
            yield from self._maybe_close()
        elif silence == hops(settings.pause):
            yield from self._end_piece()
        elif tracker.now - self._last_pass >= hops(settings.chunk):
            self._last_pass = tracker.now
            self._run()
            yield from self._advance(self._border(self._frame(tracker.now) - self._ahead))
        if tracker.stretches and tracker.now - tracker.begin >= hops(settings.longest):
            yield from self._cut()

    def _frame(self, hop: int) -> int:
        """The number of frames whose audio is complete at a hop."""
        return max(0, (hop * HOP - self._field) // self._stride + 1)

    def _through(self, hop: int) -> int:
        """The number of frames that are needed to hear everything before a hop, as far as their audio is complete."""
        return self._frame(min(hop + self._stride // HOP, self._tracker.now))

    def _run(self) -> None:
        """Give the model what is new, and compute the frames in view."""
        self._encoder.take_back(max(self._committed, self._through(self._tracker.stretches[-1].end)))
        for stretch in self._tracker.stretches:
            begin = max(self._encoder.end, self._begin, stretch.begin * HOP // self._stride)
            end = self._through(stretch.end)
            if end > begin:
                self._encoder.extend(begin, self._audio(begin, end))
        first = max(0, self._committed - self._left)
        self._encoder.forget(first)
        self._drop_samples(self._encoder.end * self._stride // HOP)
        numbers, log_probs = self._encoder.log_probs(first)
        fresh = numbers >= self._committed
        self._numbers, self._log_probs = numbers[fresh], log_probs[torch.from_numpy(fresh)]

    def _border(self, number: int) -> int:
        """Return a frame from `number` on, a little later at most, with as many silent frames around it as possible.

        The next pass may hear a symbol a frame earlier or later. If the border went through it, it would be written
        twice, or not at all.
        """
        first, last = np.searchsorted(self._numbers, [number, number + min(_BORDER, self._ahead // 4)])
        if first == last:
            return number
        loud = np.flatnonzero(~np.isin(self._log_probs.argmax(-1).numpy(), list(self._silent)))
        places = np.arange(first, last)
        if not len(loud):
            return number
        # the border lies before its frame
        distance = np.abs(places[:, None] - 0.5 - loud[None]).min(axis=1)
        return int(self._numbers[places[int(np.argmax(np.minimum(distance, 2.5)))]])

    def _audio(self, begin: int, end: int) -> np.ndarray:
        first = begin * self._stride - self._origin
        return self._samples[first : (end - 1) * self._stride + self._field - self._origin]

    def _drop_samples(self, hop: int) -> None:
        passed = min(max(0, hop * HOP - self._origin), len(self._samples))
        self._samples, self._origin = self._samples[passed:], self._origin + passed

    def _parts(self) -> list[Part]:
        """Split the frames that are not committed at the pauses between words."""
        starts = [s.begin * HOP // self._stride for s in self._tracker.stretches if s.pause >= _BOUNDARY]
        coming = [start for start in starts if len(self._numbers) and start >= self._numbers[0]]
        edges = [0, *np.searchsorted(self._numbers, coming).tolist(), len(self._numbers)]
        return [(self._numbers[a:b], self._log_probs[a:b]) for a, b in pairwise(edges)]

    def _advance(self, until: int) -> Iterator[LiveEvent]:
        """Commit the frames below number `until`, and show what follows as far as two passes agree."""
        words, tail = self._writer.advance(self._parts(), until)
        self._committed = max(self._committed, until)
        fresh = int(np.searchsorted(self._numbers, until))
        self._numbers, self._log_probs = self._numbers[fresh:], self._log_probs[fresh:]
        yield from self._commit(words)
        shown = _agreed(tail, self._candidate)
        self._candidate = tail
        if shown != self._shown or (words and shown):
            self._shown = shown
            yield self._event("tentative", shown)

    def _commit(self, words: Sequence[Word]) -> Iterator[LiveEvent]:
        if words:
            self._words += words
            yield self._event("committed", words)

    def _event(self, kind: EventKind, words: Sequence[Word]) -> LiveEvent:
        space = " " if self._vocabulary.spaced else ""
        return LiveEvent(kind, tuple(words), space.join(word.text for word in words), self.heard)

    def _maybe_close(self) -> Iterator[LiveEvent]:
        """End the utterance if the model, too, hears nothing in the silence."""
        self._run()
        tracker = self._tracker
        number, end = max(self._encoder.end, self._begin), self._frame(tracker.now)
        if end > number:
            numbers, log_probs = self._encoder.look(
                max(0, self._committed - self._left), number, self._audio(number, end)
            )
            late = numbers >= self._frame(tracker.last_end + _LATE)
            noise = tracker.steady()[numbers[late] * self._stride // HOP - tracker.last_end]
            symbols = log_probs.argmax(-1).numpy()[late][~noise]
            if len(symbols) and np.isin(symbols, list(self._silent)).mean() < _BLANK_SHARE:
                tracker.hear_all()
                return
        words, tail = self._writer.advance(self._parts(), self._committed)
        yield from self._commit(words)
        if self._words or tail or tracker.silence >= hops(self.settings.without_word):
            yield from self._close()

    def _end_piece(self) -> Iterator[LiveEvent]:
        """Commit everything before a pause, in which nothing is cut; what follows is heard without it."""
        self._run()
        if not len(self._numbers):
            return
        yield from self._commit(self._writer.finish(self._parts(), goes_on=True))
        self._committed = self._begin = self._encoder.end
        self._numbers, self._log_probs = self._numbers[:0], self._log_probs[:0]
        self._encoder.next_piece()
        if self._shown:
            self._shown = ()
            yield self._event("tentative", ())
        self._candidate = []

    def _close(self) -> Iterator[LiveEvent]:
        """Commit what is left, and end the utterance."""
        self._run()
        yield from self._commit(self._writer.finish(self._parts()))
        if self._words:
            yield self._event("final", self._words)
        self._tracker.close()
        self._begin_utterance()

    def _cut(self) -> Iterator[LiveEvent]:
        """End the utterance at the quietest place between two committed words, while its speech goes on."""
        tracker = self._tracker
        if not self._words:  # a word of such a length is none
            yield from self._commit(self._writer.finish([], goes_on=True))
        words = self._words
        latest = tracker.begin + hops(self.settings.longest) // 2
        places = [
            (tracker.quietest(hops(before.end), hops(after.start)), -index, hops((before.end + after.start) / 2))
            for index, (before, after) in enumerate(pairwise(words), 1)
            if hops(before.end) >= latest
        ]
        if places:
            _, index, hop = min(places)
            count = -index
        else:
            count, hop = len(words), hops(words[-1].end) if words else latest
        if count:
            yield self._event("final", words[:count])
        self._words = words[count:]
        tracker.cut(hop)
        self._encoder.renew()


def _agreed(words: Sequence[Word], before: Sequence[Word]) -> tuple[Word, ...]:
    """Return the first words, as far as the pass before had the same ones at the same time."""
    agreed = []
    for word in words:
        if not any(other.text == word.text and other.start < word.end and word.start < other.end for other in before):
            break
        agreed.append(word)
    return tuple(agreed)
