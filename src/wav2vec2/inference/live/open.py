"""Opening a live session for a model, and measuring how many such streams a machine carries."""

import statistics
import time

import numpy as np

from wav2vec2.audio.silero import SileroDetector
from wav2vec2.audio.speech_activity import EnergyDetector
from wav2vec2.decode.search import GREEDY, Search
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel
from wav2vec2.inference.live.encoder import LiveEncoder
from wav2vec2.inference.live.session import LiveSession
from wav2vec2.inference.live.settings import LiveSettings
from wav2vec2.inference.live.writer import GreedyWriter, SearchWriter, Writer
from wav2vec2.model.ctc import Wav2Vec2ForCTC

_PASSES = 3


def live_encoder(model: AcousticModel, settings: LiveSettings) -> LiveEncoder:
    """Return the model as a live session uses it. Raises UserError for an exported model."""
    if not isinstance(model.model, Wav2Vec2ForCTC):
        raise UserError(
            "listen: an exported model computes whole recordings only; give the model directory that it was made from"
        )
    return LiveEncoder(model.model, model.device, settings, model.half)


def open_session(model: AcousticModel, settings: LiveSettings, search: Search = GREEDY) -> LiveSession:
    """Return a session that writes by a search, or by the best symbol of every frame. A rescorer is not used.

    Raises UserError for an exported model, and for a detector that is not installed.
    """
    writer: Writer = GreedyWriter(model.vocabulary, model.architecture)
    if search.decoder is not None:
        silence = np.zeros((1, len(model.vocabulary)), np.float32)
        search.decoder.decode([silence], search.options)  # compiles it before anybody speaks
        writer = SearchWriter(search.decoder, search.options, model.vocabulary, model.architecture)
    detector = SileroDetector() if settings.vad == "silero" else EnergyDetector()
    return LiveSession(live_encoder(model, settings), writer, model.vocabulary, settings, detector)


def seconds_a_chunk(encoder: LiveEncoder) -> float:
    """Return the median time in seconds that a chunk takes with full left context. `encoder` is empty afterwards."""
    settings, a = encoder.settings, encoder.model.architecture
    chunk = settings.frames(settings.chunk, a)
    view = settings.frames(settings.left_context + settings.latency, a)
    settled = settings.frames(settings.settled, a) + 1
    rng = np.random.default_rng(0)

    def heard(frames: int) -> np.ndarray:
        noise = rng.standard_normal((frames - 1) * a.stride + a.receptive_field, dtype=np.float32)
        return np.float32(0.05) * noise

    encoder.extend(0, heard(max(view, settled)))
    encoder.log_probs(0)
    times = []
    for _ in range(_PASSES):
        begin = time.perf_counter()
        encoder.extend(encoder.end, heard(chunk))
        encoder.log_probs(encoder.end - view)
        times.append(time.perf_counter() - begin)
    encoder.restart()
    return statistics.median(times)


def capacity_line(settings: LiveSettings, seconds: float) -> str:
    """Return a line for people: the latency, the time a chunk takes, and how many streams the machine carries."""
    latency = f"latency {settings.latency:.2f} s ({settings.chunk:g} s chunks, {settings.look_ahead:g} s look-ahead)"
    streams = int(settings.chunk / max(seconds, 1e-9))
    if streams < 1:
        return (
            f"{latency}; a chunk takes {seconds:.2f} s here: this machine is too slow for this model, and the text "
            "will come later and later; use a smaller model, a GPU, or less left context"
        )
    return f"{latency}; a chunk takes {seconds:.3f} s here: this machine carries about {streams} such streams"
