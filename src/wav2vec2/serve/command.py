"""The command ``wav2vec2 serve``."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, arg

from wav2vec2.audio.pauses import Detector
from wav2vec2.audio.silero import SILERO_NEEDED
from wav2vec2.checkpoints.default_model import chosen_model
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.device import InferencePrecision
from wav2vec2.errors import UserError
from wav2vec2.serve.limits import read_keys
from wav2vec2.serve.server import ServerOptions

_NEEDED = "serve: needs the extra: pip install 'wav2vec2[serve]'"


@dataclass(frozen=True)
class ServeOptions:
    """Serve a recogniser over HTTP, in the shapes of OpenAI's interface, with a page to try it at /.

        wav2vec2 serve --model runs/finetune
        curl http://127.0.0.1:8000/v1/audio/transcriptions -F file=@talk.mp3

    The second line, in another terminal, asks for a transcript.
    """

    model: str | None = None
    """The recogniser: a model directory or the folder of a training run, a checkpoint file, an exported .onnx or .pt2
    file, or an id on the Hugging Face hub. If not given, what the environment variable WAV2VEC2_MODEL names, or else
    facebook/wav2vec2-base-960h (English; 378 MB, downloaded once)."""
    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for all networks, which wants --keys."""
    port: Annotated[int, arg(metavar="N")] = 8000
    """Port to listen at; 0 for any free one."""
    model_name: tuple[str, ...] = ()
    """Names that clients may give for the model, such as whisper-1; by default the name of its folder."""
    language: str | None = None
    """Language of a multilingual model by its code of three letters, such as swh. Without --model, the model is
    facebook/mms-1b-all (over 1,100 languages; 3.9 GB, downloaded once; not for commercial use)."""
    keys: Path | None = None
    """File of API keys, one a line; every request to /v1/ must show one."""
    tls_cert: Path | None = None
    """Certificate, for HTTPS."""
    tls_key: Path | None = None
    """Its private key."""
    cors: tuple[str, ...] = ()
    """Origins whose pages may ask this server, such as https://example.org; none by default."""
    max_seconds: float = 4 * 3600.0
    """Longest recording, in seconds of sound."""
    max_megabytes: int = 1024
    """Largest file."""
    memory_megabytes: int = 2048
    """Memory of all uploads together, and of each process that reads one."""
    spool: Path | None = None
    """Folder for uploads while they are worked on; by default they stay in memory."""
    least_speed: int = 1024
    """Bytes a second below which an upload is ended."""
    running: int = 32
    """Requests that are worked on at once."""
    waiting: int = 256
    """Requests that may wait; more are told to come back."""
    live_sessions: int = 64
    """Live sessions at once."""
    vad: Detector = "energy"
    """What tells speech from silence in live sessions: energy (loud from quiet), or silero, a small network that does
    not take music and noise for speech (extra wav2vec2[silero])."""
    requests_a_minute: int = 0
    """Requests a minute of one address; 0 for no limit."""
    processes: int = 0
    """Processes that hold the model. 0: one for each core, at most 8, for a model of up to 25 million parameters on a
    CPU; one for every four cores for a larger one, or where that is more; one on a GPU. A model of the hub is
    downloaded before that is decided."""
    threads: int = 0
    """Threads of each of them; 0: so many that all cores are used. Each hears live sessions and computes batches of its
    own while there is work for all. Use 1, with --processes 1, where other work has the cores, too."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1, ..."""
    precision: InferencePrecision = "auto"
    """bf16, fp16: matrix products in half precision, several times faster on a GPU. auto: bf16 on a GPU that has it,
    and on a CPU a file model.onnx of wav2vec2 export that lies in the model's folder; otherwise float32."""
    batch_seconds: float = 12.0
    """Seconds of audio in a batch, padding included; less answers sooner, more is faster on a GPU."""
    drain_seconds: float = 30.0
    """After SIGTERM, requests have so long to end."""
    decoding: OmitArgPrefixes[DecodingOptions] = field(default_factory=DecodingOptions)


def run(options: ServeOptions) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises UserError for a model or option that is refused."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401

        from wav2vec2.serve.listen import serve_until_stopped
    except ImportError as error:
        raise UserError(f"{_NEEDED} ({error.name} is missing)") from None
    serve_until_stopped(options, server_options(options))


def server_options(options: ServeOptions) -> ServerOptions:
    """Return what the routes need to know. Raises UserError for an impossible value."""
    from wav2vec2.serve.search import plain_options

    for name in ("max_seconds", "max_megabytes", "memory_megabytes", "running", "batch_seconds", "least_speed"):
        if not getattr(options, name) > 0:
            raise UserError(f"--{name.replace('_', '-')}: must be above 0")
    if (options.tls_cert is None) != (options.tls_key is None):
        raise UserError("--tls-cert and --tls-key: give both, or none")
    if options.spool is not None and not options.spool.is_dir():
        raise UserError(f"{options.spool}: is no folder; make it, or leave --spool out")
    if options.vad == "silero" and find_spec("silero_vad") is None:
        raise UserError(SILERO_NEEDED)  # a process that loads it would say so to a client only
    model = chosen_model(options.model, options.language)
    processes = {
        "model": model,
        "language": options.language,
        "device": options.device,
        "precision": options.precision,
        "batch_seconds": options.batch_seconds,
        "vad": options.vad,
        "decoding": plain_options(options.decoding),
    }
    megabyte = 1 << 20
    return ServerOptions(
        model_names=options.model_name or (_name(model),),
        language=options.language or "und",
        processes=processes,
        workers=options.processes,
        threads=options.threads,
        most_seconds=options.max_seconds,
        most_bytes=options.max_megabytes * megabyte,
        memory_bytes=options.memory_megabytes * megabyte,
        upload_budget=options.memory_megabytes * megabyte,
        bytes_a_second=options.least_speed,
        running=options.running,
        waiting=options.waiting,
        live_sessions=options.live_sessions,
        requests_a_minute=options.requests_a_minute,
        keys=() if options.keys is None else tuple(read_keys(options.keys)),
        spool=options.spool,
        cors=options.cors,
    )


def _name(model: str) -> str:
    path = Path(model)
    return (path.resolve().name if path.exists() else model) or "wav2vec2"
