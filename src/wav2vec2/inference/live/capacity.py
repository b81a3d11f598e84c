"""How many live streams this machine carries with a model, by measuring a few chunks of noise."""

import statistics
import time

import numpy as np

from wav2vec2.inference.live.encoder import LiveEncoder
from wav2vec2.inference.live.settings import LiveSettings

_PASSES = 3


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
