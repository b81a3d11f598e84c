"""Speech to text with a CTC model: the class `Transcriber`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Failure, Recording, audio_files
from wav2vec2.decode.beside_model import build_model_searches
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.decode.greedy import confident_words
from wav2vec2.decode.hypothesis import Hypothesis, hypothesis_text, word_frames
from wav2vec2.decode.search import Search, run_searches
from wav2vec2.device import InferencePrecision
from wav2vec2.errors import UserError, quoted
from wav2vec2.inference.acoustic_model import AcousticModel, AcousticOutput, ModelSource
from wav2vec2.inference.frame_outputs import AudioSource, ComputeOptions, as_recording
from wav2vec2.inference.live.open import open_session
from wav2vec2.inference.live.session import LiveSession
from wav2vec2.inference.live.settings import LiveSettings
from wav2vec2.output.transcript import Alternative, Transcript, Word
from wav2vec2.progress import Advance, no_progress
from wav2vec2.text.vocabulary import Vocabulary


class Transcriber:
    """Writes down what is said in recordings of any length.

    model: a `Wav2Vec2ForCTC`, or anything `wav2vec2.load` or `wav2vec2 export` names. vocabulary: replaces the model's
    own. device: auto (a GPU if there is one), cpu, cuda, cuda:1, ... Recordings longer than `window_seconds` are
    processed in overlapping windows, which have `context_seconds` of context at both ends; a batch holds at most
    `batch_seconds` of audio. precision: auto (bf16 on a GPU that has it, otherwise float32), float32, bf16 or fp16.

    The other keywords choose the search, as the options of ``wav2vec2 transcribe`` do. Without any of them, a language
    model that lies beside the model is used (not with lm="none"); if there is none, decoding is greedy. decoding: all
    of these options in one object; keywords that are given replace its values. A search may run worker processes:
    `close` the transcriber, or use it in a `with` statement.

    Raises UserError for a model without a CTC head or a vocabulary, for impossible sizes and options, and for files
    that are missing or broken.
    """

    def __init__(
        self,
        model: ModelSource | AcousticModel,
        *,
        vocabulary: Vocabulary | None = None,
        device: str = "auto",
        batch_seconds: float = 60.0,
        window_seconds: float = 30.0,
        context_seconds: float = 4.0,
        precision: InferencePrecision = "auto",
        decoder: Literal["auto", "greedy", "beam", "lexicon"] | None = None,
        lm: str | Path | None = None,
        lexicon: str | Path | None = None,
        preset: str | Path | None = None,
        hotwords: Mapping[str, float] | None = None,
        lm_weight: float | None = None,
        word_score: float | None = None,
        beam: int | None = None,
        nbest: int | None = None,
        workers: int | None = None,
        decoding: DecodingOptions | None = None,
    ) -> None:
        given: dict[str, Any] = {
            "decoder": decoder,
            "lm": lm and Path(lm),
            "lexicon": lexicon and Path(lexicon),
            "preset": preset and str(preset),
            "hotwords": hotwords,
            "lm_weight": lm_weight,
            "word_score": word_score,
            "beam": beam,
            "nbest": nbest,
            "workers": workers,
        }
        given = {name: value for name, value in given.items() if value is not None}
        options = replace(decoding or DecodingOptions(), **given)
        options.resolve()  # refuses an impossible choice before the model is loaded
        if not isinstance(model, AcousticModel):
            compute = ComputeOptions(device, batch_seconds, window_seconds, context_seconds, precision)
            model = AcousticModel(model, vocabulary=vocabulary, compute=compute)
        self.acoustic_model = model
        self.model, self.vocabulary, self.device = model.model, model.vocabulary, model.device
        self.architecture = model.architecture
        self.search = build_model_searches(options, self.vocabulary, model.language_model_folder)[-1]

    def live(self, settings: LiveSettings | None = None) -> LiveSession:
        """Begin to listen to a stream; see `LiveSession`. Several may be open at once.

        The words of a live session are those of greedy decoding. Raises UserError for an exported model.
        """
        return open_session(self.acoustic_model, settings or LiveSettings())

    def close(self) -> None:
        """Stop the workers of the search."""
        self.search.close()

    def __enter__(self) -> "Transcriber":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @overload  # a string is a sequence of strings, but one recording
    def __call__(self, audio: AudioSource) -> Transcript: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, audio: Sequence[AudioSource]) -> list[Transcript]: ...

    def __call__(self, audio: AudioSource | Sequence[AudioSource]) -> Transcript | list[Transcript]:
        """Transcribe one recording, or a list of them.

        A recording is a file, the bytes of one, or a float array (16 kHz mono). A list may also name folders, which are
        searched for audio files; its result is a list.

        Raises UserError for the first recording that cannot be read; `stream` continues instead.
        """
        if isinstance(audio, Sequence) and not isinstance(audio, str | bytes):
            return self._transcribe(_without_folders(audio))
        if isinstance(audio, str | Path) and Path(audio).is_dir():
            raise UserError(
                f"{audio}: is a folder; to transcribe the recordings in it, give a list: [{quoted(str(audio))}]"
            )
        return self._transcribe([audio])[0]

    def _transcribe(self, sources: Iterable[AudioSource]) -> list[Transcript]:
        transcripts = []
        for result in self.stream(sources):
            if isinstance(result, Failure):
                raise UserError(result.message)
            transcripts.append(result)
        return transcripts

    def stream(
        self, recordings: Iterable[AudioSource | Recording | Failure], advance: Advance = no_progress
    ) -> Iterator[Transcript | Failure]:
        """Yield a Transcript for each recording, in order, or a Failure for one that cannot be read.

        The transcript of a recording shorter than one frame (400 samples) is empty. `advance` is called with the
        seconds of audio that the model has heard since the last call.
        """
        for result in self.stream_searches(recordings, [self.search], advance):
            yield result if isinstance(result, Failure) else result[0]

    def stream_searches(
        self,
        recordings: Iterable[AudioSource | Recording | Failure],
        searches: Sequence[Search],
        advance: Advance = no_progress,
    ) -> Iterator[list[Transcript] | Failure]:
        """Like `stream`, with one transcript for each of `searches`; the model runs once for all of them."""
        beams = [number for number, search in enumerate(searches) if search.decoder is not None]
        opened = map(as_recording, recordings)
        for pool in self.acoustic_model.pools(opened, log_probs=bool(beams), advance=advance):
            outputs = [output for output in pool if isinstance(output, AcousticOutput)]
            greedy = [[confident_words(self.vocabulary, o.best_path, o.path_scores)] for o in outputs]
            nbest_lists: list[list[list[Hypothesis]]] = [greedy for _ in searches]
            if beams:
                emissions = [output.log_probs for output in outputs if output.log_probs is not None]
                found = run_searches([searches[number] for number in beams], self.vocabulary, emissions)
                for number, lists in zip(beams, found, strict=True):
                    nbest_lists[number] = lists
            rows = zip(*nbest_lists, strict=True)
            for output in pool:
                if isinstance(output, Failure):
                    yield output
                else:
                    yield [
                        self._transcript(output.recording, nbest, search)
                        for nbest, search in zip(next(rows), searches, strict=True)
                    ]

    def _transcript(self, recording: Recording, nbest: Sequence[Hypothesis], search: Search) -> Transcript:
        best, vocabulary = nbest[0], self.vocabulary
        spans = word_frames(vocabulary, best)
        confidences: Sequence[float | None] = best.word_confidences
        if len(confidences) != len(spans):
            confidences = [None] * len(spans)
        words = tuple(
            Word(text, *self.architecture.frame_span(first, last), confidence)
            for (text, first, last), confidence in zip(spans, confidences, strict=True)
        )
        alternatives = tuple(
            Alternative(hypothesis_text(vocabulary, h), h.score, h.acoustic_score, h.lm_score)
            for h in nbest[: search.nbest]
        )
        return Transcript(
            source=recording.name,
            text=hypothesis_text(vocabulary, best),
            words=words,
            seconds=recording.samples / SAMPLE_RATE,
            score=best.score,
            nbest=alternatives if search.nbest > 1 else (),
            spaced=vocabulary.spaced or bool(best.words),
            warning=recording.warning,
        )


def _without_folders(sources: Iterable[AudioSource]) -> Iterator[AudioSource]:
    """Replace each folder by the audio files in it."""
    for source in sources:
        if isinstance(source, str | Path) and Path(source).is_dir():
            yield from audio_files([source])
        else:
            yield source
