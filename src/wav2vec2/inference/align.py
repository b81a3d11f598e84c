"""CTC forced alignment of a recording to its text: the class `Aligner`.

Frame f sees samples 320 f to 320 f + 400 and stands for the 20 ms around the centre of that field: 10 ms to either side
of (320 f + 200) / 16000 s. A symbol lasts from the start of its first frame's 20 ms to the end of its last frame's, so
that no symbol has zero length and neighbours can touch. A word lasts from its first symbol to its last. The times of a
`Transcriber` are defined in the same way. A CTC model tends to emit a symbol in one or two frames, followed by blanks,
so the end of a word is often early.

Memory: the emissions (T, V), float32, of one pool of recordings, and the scores of `decode.align`.
"""

from collections.abc import Iterable, Iterator

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import AnyRecording, Failure
from wav2vec2.checkpoints.default_model import chosen_model
from wav2vec2.decode.aligned_text import AlignedText, Span, align_text
from wav2vec2.device import InferencePrecision
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel, AcousticOutput, ModelSource
from wav2vec2.inference.frame_outputs import AudioSource, ComputeOptions, as_recording, with_results
from wav2vec2.model.architecture import Architecture
from wav2vec2.output.alignment import Alignment
from wav2vec2.output.timed import TimedSymbol, TimedWord
from wav2vec2.progress import Advance, no_progress
from wav2vec2.text.vocabulary import Vocabulary


class Aligner:
    """Finds the times of the words and characters of a known text in a recording.

    model: a `Wav2Vec2ForCTC`, or anything `wav2vec2.load` or `wav2vec2 export` names; model and language by default as
    for `Transcriber`. vocabulary: replaces the model's own. device: auto (a GPU if there is one), cpu, cuda, ...
    Recordings longer than `window_seconds` are processed in overlapping windows, which have `context_seconds` of
    context at both ends; a batch holds at most `batch_seconds` of audio: by default 60, or 20 on a CPU. precision: auto
    (bf16 on a GPU that has it, otherwise float32), float32, bf16 or fp16.

    Raises UserError for a model without a CTC head or a vocabulary, and for impossible sizes.
    """

    def __init__(
        self,
        model: ModelSource | AcousticModel | None = None,
        *,
        language: str | None = None,
        vocabulary: Vocabulary | None = None,
        device: str = "auto",
        batch_seconds: float | None = None,
        window_seconds: float = 30.0,
        context_seconds: float = 4.0,
        precision: InferencePrecision = "auto",
    ) -> None:
        if not isinstance(model, AcousticModel):
            compute = ComputeOptions(device, batch_seconds, window_seconds, context_seconds, precision)
            source = chosen_model(None, language) if model is None else model
            model = AcousticModel(source, vocabulary=vocabulary, compute=compute, language=language)
        self._acoustic = model
        self.architecture: Architecture = model.architecture
        self.vocabulary = model.vocabulary

    def __call__(self, audio: AudioSource, text: str) -> Alignment:
        """Align `text` to a file, to the bytes of one, or to a float array (16 kHz mono).

        Raises UserError if the recording cannot be read or the text cannot be aligned to it.
        """
        (result,) = self.stream([(audio, text)])
        if isinstance(result, Failure):
            raise UserError(result.message)
        return result

    def stream(
        self,
        pairs: Iterable[tuple[AudioSource | AnyRecording | Failure, str]],
        advance: Advance = no_progress,
    ) -> Iterator[Alignment | Failure]:
        """Yield an Alignment for each pair of audio and text, in order, or a Failure where that is not possible.

        `advance` is called with the seconds of audio that the model has heard since the last call.
        """

        def run(
            pairs: Iterator[tuple[AudioSource | AnyRecording | Failure, str]],
        ) -> Iterator[AcousticOutput | Failure]:
            recordings = (as_recording(audio) for audio, _ in pairs)
            for pool in self._acoustic.pools(recordings, log_probs=True, advance=advance):
                yield from pool

        for (_, text), output in with_results(pairs, run):
            if isinstance(output, Failure):
                yield output
                continue
            yield self._align(output, text)

    def _align(self, output: AcousticOutput, text: str) -> Alignment | Failure:
        name = output.recording.name
        assert output.log_probs is not None
        try:
            aligned = align_text(output.log_probs, text, self.vocabulary, name=name)
        except UserError as error:
            return Failure(name, str(error))
        return in_seconds(aligned, output.recording, self.architecture, self.vocabulary)


def in_seconds(aligned: AlignedText, recording: AnyRecording, a: Architecture, vocabulary: Vocabulary) -> Alignment:
    """Convert frames to seconds: a frame stands for one stride around the centre of its receptive field."""

    def times(span: Span | None) -> tuple[float | None, float | None, float | None]:
        if span is None:
            return None, None, None
        return *a.frame_span(span.first, span.last), span.score

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
        spaced=vocabulary.spaced,
        unknown=aligned.unknown,
    )
