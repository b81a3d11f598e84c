"""What a server counts, for Prometheus. All of it lives in the front."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.requests = Counter("wav2vec2_requests", "Requests by path and status", ["path", "status"], registry=r)
        self.request_seconds = Histogram(
            "wav2vec2_request_seconds", "Time of requests", ["path"], buckets=_SECONDS, registry=r
        )
        self.active = Gauge("wav2vec2_active_requests", "Requests with audio that are being worked on", registry=r)
        self.queued = Gauge("wav2vec2_queued_requests", "Requests with audio that wait for their turn", registry=r)
        self.live_sessions = Gauge("wav2vec2_live_sessions", "Open live sessions", registry=r)
        self.waiting_pieces = Gauge("wav2vec2_waiting_pieces", "Pieces that wait for a batch", registry=r)
        self.audio_seconds = Counter("wav2vec2_audio_seconds", "Seconds of audio that the model heard", registry=r)
        self.batch_seconds = Histogram("wav2vec2_batch_seconds", "Time of batches", buckets=_SECONDS, registry=r)
        self.batch_pieces = Histogram(
            "wav2vec2_batch_pieces", "Pieces of a batch", buckets=(1, 2, 4, 8, 16, 32, 64), registry=r
        )
        self.upload_bytes = Counter("wav2vec2_upload_bytes", "Bytes of uploads", registry=r)
        self.worker_deaths = Counter("wav2vec2_worker_deaths", "Compute workers that have died", registry=r)
        self.decoder_crashes = Counter("wav2vec2_decoder_crashes", "Decoder processes that have died", registry=r)
        self.refused = Counter("wav2vec2_refused", "Requests refused, by code", ["code"], registry=r)

    def text(self) -> bytes:
        """Return all metrics in the format that Prometheus reads."""
        return generate_latest(self.registry)
