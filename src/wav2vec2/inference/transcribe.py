"""Speech to text with a CTC model: the class `Transcriber`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

from wav2vec2.audio.recordings import AnyRecording, Failure, audio_files
from wav2vec2.checkpoints.default_model import chosen_model
from wav2vec2.decode.beside_model import build_model_searches, with_preset_beside
from wav2vec2.decode.build import DecodingOptions, open_each_once
from wav2vec2.decode.search import Search
from wav2vec2.device import InferencePrecision
from wav2vec2.errors import UserError, quoted
from wav2vec2.inference.acoustic_model import AcousticModel, ModelSource
from wav2vec2.inference.chunks import Assembly, Chunk, TranscribedPiece, chunks, searched
from wav2vec2.inference.frame_outputs import AudioSource, ComputeOptions, as_recording
from wav2vec2.inference.live.open import open_session
from wav2vec2.inference.live.session import LiveSession
from wav2vec2.inference.live.settings import LiveSettings
from wav2vec2.inference.windows import PieceSettings, Statistics
from wav2vec2.output.transcript import Transcript
from wav2vec2.progress import Advance, no_progress
from wav2vec2.text.vocabulary import Vocabulary


class Transcriber:
    """Writes down what is said in recordings of any length.

    model: a `Wav2Vec2ForCTC`, or anything `wav2vec2.load` or `wav2vec2 export` names; if not given, what the variable
    WAV2VEC2_MODEL names, or facebook/wav2vec2-base-960h. language: of a multilingual model, such as "swh"; without a
    model, of facebook/mms-1b-all. vocabulary: replaces the model's own.
    device: auto (a GPU if there is one), cpu, cuda, cuda:1, ... A batch holds at most `batch_seconds` of audio:
    by default 60, or 20 on a CPU.
    precision: auto (bf16 on a GPU that has it, otherwise float32), float32, bf16 or fp16.

    A recording longer than `longest_piece` (by default, what the model has heard in training) is cut at its pauses, and
    long silence is left out; `pause`, `margin` and `statistics` as in `ComputeOptions`, by default as a preset says.
    With pieces="none" all of it is processed, in overlapping windows of `window_seconds` with `context_seconds` of
    context at both ends. Either way memory does not grow with a recording's length.

    The other keywords choose the search, as the options of ``wav2vec2 transcribe`` do. Without any of them, a language
    model that lies beside the model is used (not with lm="none"); if there is none, decoding is greedy. decoding: all
    of these options in one object; keywords that are given replace its values. compute: all others in one object, in
    place of the keywords. A search may run worker processes: `close` the transcriber, or use it in a `with` statement.

    Raises UserError for a model without a CTC head or a vocabulary, for impossible sizes and options, and for files
    that are missing or broken.
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
        pieces: Literal["speech", "none"] = "speech",
        longest_piece: float | None = None,
        pause: float | None = None,
        margin: float | None = None,
        statistics: Statistics | None = None,
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
        compute: ComputeOptions | None = None,
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
        if model is None:
            model = chosen_model(None, language)
        options = with_preset_beside(options, model.source if isinstance(model, AcousticModel) else model)
        settings = options.resolve()  # refuses an impossible choice before the model is loaded
        self.tuned = PieceSettings.of(settings)
        if not isinstance(model, AcousticModel):
            own = ComputeOptions(device, batch_seconds, window_seconds, context_seconds, precision, pieces)
            own = replace(own, longest_piece=longest_piece, pause=pause, margin=margin, statistics=statistics)
            model = AcousticModel(
                model, vocabulary=vocabulary, compute=compute or own, tuned=self.tuned, language=language
            )
        self.acoustic_model = model
        self.model, self.vocabulary, self.device = model.model, model.vocabulary, model.device
        self.architecture = model.architecture
        self.search = build_model_searches(
            options, self.vocabulary, model.language_model_folder, open_lm=open_each_once(self.device)
        )[-1]

    def live(self, settings: LiveSettings | None = None) -> LiveSession:
        """Begin to listen to a stream; see `LiveSession`. Several may be open at once.

        The search is that of the transcriber, without rescoring. Without settings, they are those that suit the model
        and the preset (`LiveSettings.suited`). Raises UserError for an exported model.
        """
        chosen = settings or LiveSettings().suited(self.acoustic_model.longest_heard, self.tuned)
        return open_session(self.acoustic_model, chosen, self.search)

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
        self, recordings: Iterable[AudioSource | AnyRecording | Failure], advance: Advance = no_progress
    ) -> Iterator[Transcript | Failure]:
        """Yield a Transcript for each recording, in order, or a Failure for one that cannot be read.

        The transcript of a recording shorter than one frame (400 samples) is empty. `advance` is called with the
        seconds of audio that the model has heard since the last call.
        """
        for result in self.stream_pieces(recordings, advance):
            if not isinstance(result, TranscribedPiece):
                yield result

    def pieces(self, audio: AudioSource) -> Iterator[TranscribedPiece]:
        """Yield what is said between the pauses of a recording, as soon as it is known; memory does not grow.

        Raises UserError if the recording cannot be read, after what could be read.
        """
        for result in self.stream_pieces([audio]):
            if isinstance(result, Failure):
                raise UserError(result.message)
            if isinstance(result, TranscribedPiece):
                yield result

    def stream_pieces(
        self, recordings: Iterable[AudioSource | AnyRecording | Failure], advance: Advance = no_progress
    ) -> Iterator[TranscribedPiece | Transcript | Failure]:
        """Like `stream`, with the pieces of each recording, as soon as they are known, before its Transcript.

        A recording whose reading fails has pieces up to there, and then a Failure.
        """
        for result in self._results(recordings, [self.search], advance):
            if isinstance(result, list):
                yield from result
            else:
                yield result

    def stream_searches(
        self,
        recordings: Iterable[AudioSource | AnyRecording | Failure],
        searches: Sequence[Search],
        advance: Advance = no_progress,
    ) -> Iterator[list[Transcript] | Failure]:
        """Like `stream`, with one transcript for each of `searches`; the model runs once for all of them."""
        for result in self._results(recordings, searches, advance):
            if not isinstance(result, TranscribedPiece):
                yield result

    def _results(
        self, recordings: Iterable[AudioSource | AnyRecording | Failure], searches: Sequence[Search], advance: Advance
    ) -> Iterator[TranscribedPiece | list[Transcript] | Failure]:
        """Yield the pieces of the last search, and for each recording the transcripts of all of them, or a Failure."""
        any_beam = any(search.decoder is not None for search in searches)
        pools = self.acoustic_model.cut_pools(
            map(as_recording, recordings), log_probs=any_beam, tuned=self.tuned, advance=advance
        )
        parts: list[Assembly] = []
        for event, lists in searched(
            chunks(pools, self.vocabulary, self.architecture.stride), searches, self.vocabulary
        ):
            parts = parts or [Assembly(self.vocabulary, self.architecture, search) for search in searches]
            if isinstance(event, Chunk):
                for part, nbest in zip(parts, lists, strict=True):
                    piece = part.add(event.recording, event.start, len(event.symbols), nbest)
                yield piece
                continue
            yield event if isinstance(event, Failure) else [part.transcript(event.recording) for part in parts]
            parts = []


def _without_folders(sources: Iterable[AudioSource]) -> Iterator[AudioSource]:
    """Replace each folder by the audio files in it."""
    for source in sources:
        if isinstance(source, str | Path) and Path(source).is_dir():
            yield from audio_files([source])
        else:
            yield source
