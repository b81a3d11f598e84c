"""The command ``wav2vec2 listen``."""

import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
from tyro.conf import OmitArgPrefixes, Positional, arg

from wav2vec2.audio.microphone import Microphone
from wav2vec2.audio.pauses import Detector
from wav2vec2.audio.pcm import PcmStream
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.checkpoints.default_model import model_and_words
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.device import InferencePrecision, usable_device
from wav2vec2.errors import UserError
from wav2vec2.inference.frame_outputs import ComputeOptions, default_shown
from wav2vec2.inference.live.events import LiveEvent, default_format, write_growing, write_jsonl, write_text
from wav2vec2.inference.live.open import capacity_line, live_encoder, seconds_a_chunk
from wav2vec2.inference.live.session import LiveSession
from wav2vec2.inference.live.settings import Delay, LiveSettings
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.inference.windows import PieceSettings

_READ = 64 * 1024
_RATES = (1_000, 384_000)


@dataclass(frozen=True)
class ListenOptions:
    """Write down speech while it is spoken: from the microphone, or raw PCM from stdin.

    On a terminal the text grows on a line; what may still change is dimmed. Otherwise each event is a line of JSON:
    committed words never change, tentative ones may, and final has all words of an utterance. Ctrl-C ends it.
    """

    source: Annotated[tuple[str, ...], Positional, arg(metavar="[-|DEVICE]")] = ()
    """-: raw PCM from stdin, 16 bit signed little-endian, mono. Otherwise the microphone: number or part of the name of
    an input device ('python -m sounddevice' lists them); by default the system's own choice."""
    model: str | None = None
    """The recogniser: a model directory or the folder of a training run, a checkpoint file, or an id on the Hugging
    Face hub. If not given, what the environment variable WAV2VEC2_MODEL names, or else facebook/wav2vec2-base-960h
    (English; 378 MB, downloaded once)."""
    language: str | None = None
    """Language of a multilingual model by its code of three letters, such as swh. Without --model, the model is
    facebook/mms-1b-all (over 1,100 languages; 3.9 GB, downloaded once; not for commercial use)."""
    rate: int = SAMPLE_RATE
    """Samples a second of the PCM on stdin."""
    delay: Delay = "high"
    """How long is listened on before words are committed: minimal 0.16 s, low 0.32, medium 0.64, high 1.28, xhigh 2.56.
    Less is faster and less accurate. The latency is this plus --chunk."""
    chunk: float = 0.96
    """Seconds after which the model runs again. Less is faster, and takes more computing."""
    left_context: Annotated[float | None, default_shown("SECONDS", "5.12, or what the model has heard")] = None
    """Seconds before a chunk that the model hears again. Less takes less computing."""
    margin: Annotated[
        float | None, default_shown("SECONDS", "0.02 to 0.1, as what the model has heard was long; or the preset's")
    ] = None
    """Silence that the model hears on either side of speech; at most half of --pause."""
    pause: Annotated[float | None, default_shown("SECONDS", "0.3, or the preset's")] = None
    """Silence before which everything is committed at once."""
    vad: Detector = "energy"
    """What tells speech from silence: energy (loud from quiet), or silero, a small network that does not take music and
    noise for speech (extra wav2vec2[silero])."""
    format: Literal["auto", "text", "jsonl"] = "auto"
    """text: growing text on a terminal, elsewhere a line for each utterance. jsonl: a line of JSON for each event.
    auto: text on a terminal, elsewhere jsonl."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1, ..."""
    precision: InferencePrecision = "auto"
    """bf16, fp16: matrix products in half precision, several times faster on a GPU. auto: bf16 on a GPU that has it,
    otherwise float32."""
    decoding: OmitArgPrefixes[DecodingOptions] = field(default_factory=DecodingOptions)


def run(options: ListenOptions) -> None:
    """Listen until the end of stdin, or until Ctrl-C."""
    _settings(options, None, PieceSettings())  # refuses impossible ones before the model is loaded
    if not _RATES[0] <= options.rate <= _RATES[1]:
        raise UserError(f"--rate {options.rate}: must be from {_RATES[0]} to {_RATES[1]} samples a second")
    name, words = model_and_words("listen", options.source, options.model, options.language)
    if len(words) > 1:
        raise UserError(f"listen: takes one source, - or a device, not {len(words)}; put a name with spaces in quotes")
    source = "".join(words)
    if source == "-" and sys.stdin.isatty():
        raise UserError("listen -: stdin is a terminal; pipe audio into it, such as: arecord -f S16_LE -r 16000 |")
    with contextlib.ExitStack() as stack:
        # opened before the model is loaded, so that a missing microphone is told at once
        microphone = None if source == "-" else Microphone(source)
        # An exported file beside the model, which auto would take on a CPU, cannot listen.
        gpu = usable_device(options.device).type != "cpu"
        precision = options.precision if gpu or options.precision != "auto" else "float32"
        compute = ComputeOptions(device=options.device, precision=precision)
        transcriber = stack.enter_context(
            Transcriber(name, compute=compute, decoding=options.decoding, language=options.language)
        )
        model = transcriber.acoustic_model
        settings = _settings(options, model.longest_heard, transcriber.tuned)
        seconds = seconds_a_chunk(live_encoder(model, settings))
        print(f"listen: {capacity_line(settings, seconds)}", file=sys.stderr)
        if (advice := settings.advice()) is not None:
            print(f"listen: {advice}", file=sys.stderr)
        session = transcriber.live(settings)
        if microphone is None:
            blocks = pcm_blocks(sys.stdin.fileno(), options.rate)
        else:
            blocks = stack.enter_context(microphone).blocks()
        print("listen: speak now; Ctrl-C ends", file=sys.stderr)
        _write(events(session, blocks), options, " " if model.vocabulary.spaced else "")


def _settings(options: ListenOptions, longest_heard: float | None, tuned: PieceSettings) -> LiveSettings:
    """The settings that suit the model, but what was chosen. Raises UserError for impossible ones."""
    suited = LiveSettings(delay=options.delay, chunk=options.chunk, vad=options.vad).suited(longest_heard, tuned)
    pause = suited.pause if options.pause is None else options.pause
    margin = min(suited.margin, pause / 2) if options.margin is None else options.margin
    left = suited.left_context if options.left_context is None else options.left_context
    return replace(suited, pause=pause, margin=margin, left_context=left)


def pcm_blocks(descriptor: int, rate: int) -> Iterator[np.ndarray]:
    """Yield the audio in a file of 16-bit PCM, mono float32 at 16 kHz, as it comes; an odd last byte is left out."""
    stream = PcmStream(rate)
    while block := os.read(descriptor, _READ):
        if len(samples := stream.push(block)):
            yield samples
    yield stream.finish()


def events(session: LiveSession, blocks: Iterable[np.ndarray]) -> Iterator[LiveEvent]:
    """Yield what a session says to the blocks; at the end, and at Ctrl-C, what is left of the last utterance."""
    with _PatientInterrupt() as interrupt:
        for block in interrupt.until_asked(blocks):
            yield from session.push(block)
        yield from session.finish()


class _PatientInterrupt:
    """Ctrl-C while the next block is awaited ends the stream at once, and otherwise when the block at hand is done.

    A second Ctrl-C interrupts whatever is done. Outside the main thread nothing is changed.
    """

    def __init__(self) -> None:
        self._asked = self._waits = False
        self._before: Any = None

    def __enter__(self) -> "_PatientInterrupt":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, *_: object) -> None:
        if self._asked or self._waits:
            raise KeyboardInterrupt
        self._asked = True

    def until_asked(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        source = iter(blocks)
        while not self._asked:
            try:
                self._waits = True
                block = next(source, None)
                self._waits = False
            except KeyboardInterrupt:
                self._asked, self._waits = True, False
                return
            if block is None:
                return
            yield block


def _write(found: Iterator[LiveEvent], options: ListenOptions, space: str) -> None:
    style = default_format() if options.format == "auto" else options.format
    if style == "jsonl":
        write_jsonl(found, sys.stdout)
    elif sys.stdout.isatty():
        write_growing(found, sys.stdout, shutil.get_terminal_size().columns, space=space)
    else:
        write_text(found, sys.stdout)
