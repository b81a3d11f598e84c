"""The command ``wav2vec2 report utterance``: what a recogniser sees and says of a recording, and where a text lies."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Failure, Recording, Waveform, open_recording
from wav2vec2.decode.aligned_text import align_text, unknown_text
from wav2vec2.decode.collapse import collapse
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel, Frames
from wav2vec2.inference.aligner import in_seconds
from wav2vec2.output.alignment_files import Alignment
from wav2vec2.report.page import Page
from wav2vec2.report.utterance_picture import draw_utterance, emitted, parts
from wav2vec2.text.argument import read_text

_LONGEST = 120.0


@dataclass(frozen=True)
class UtteranceOptions:
    """Draw spectrogram, posteriors and alignment of a recording; writes DIR/report.html and report.md.

    Without --text, the text is what the model itself writes (greedy decoding).
    """

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A model directory or checkpoint file with a CTC head."""
    audio: Annotated[str, Positional, arg(metavar="AUDIO")]
    """An audio file."""
    text: str = ""
    """What is said: the words, or the name of a UTF-8 text file that holds them; - reads stdin."""
    start: float = 0.0
    """Second at which to begin."""
    seconds: float = 0.0
    """How long a part to look at; 0: to the end. A text is that of this part."""
    picture_seconds: float = 6.0
    """Each picture shows so much at most."""
    out: Path = Path("report")
    """Folder to write to: made if it is not there."""
    device: str = "auto"
    """auto takes a GPU if there is one; else cpu, cuda, cuda:1, ..."""


def run(options: UtteranceOptions) -> None:
    """Listen, draw, write the page and say where it is."""
    if not options.picture_seconds > 0 or options.start < 0 or options.seconds < 0:
        raise UserError("report utterance: --picture-seconds must be above 0, --start and --seconds at least 0")
    text = read_text(options.text) if options.text else ""
    if options.text and not text.strip():
        raise UserError(f"{options.text}: the text is empty; give the words that are spoken, or leave --text out")
    recording, waveform = _part(options)
    model = AcousticModel(options.model, device=options.device)
    frames = _listen(model, recording)
    written = model.vocabulary.decode(collapse(frames.symbols, model.vocabulary.blank).ids)
    page = Page(f"Utterance: {Path(options.audio).name}")
    page.table(["what", "which"], _facts(options, recording, text, written))
    alignment = _alignment(model, frames, text or written) if (text or written).strip() else None
    if alignment is None:
        page.text("The model writes nothing here, so there is no alignment.")
    elif alignment.unknown:
        page.text(f"The symbols without a time: {unknown_text(alignment.unknown)}.")
    assert frames.log_probs is not None
    a = model.architecture
    half = a.stride / 2 / SAMPLE_RATE
    emissions = emitted(frames.log_probs, model.vocabulary, a.frame_center(0) - half, 2 * half)
    length = recording.samples / SAMPLE_RATE
    beginnings, shown = parts(length, options.picture_seconds)
    for number, first in enumerate(beginnings, 1):
        caption = f"Seconds {first:.4g} to {first + shown:.4g}: spectrogram, posteriors, alignment"
        figure = draw_utterance(waveform, emissions, alignment, first, shown, options.start)
        page.figure(figure, caption, f"utterance_{number}")
    html, markdown = page.write(options.out)
    print(f"{html}\n{markdown}")


def _part(options: UtteranceOptions) -> tuple[Recording, Waveform]:
    """The chosen part of the recording, as a recording and as samples."""
    whole = open_recording(options.audio)
    if isinstance(whole, Failure):
        raise UserError(whole.message)
    first = round(options.start * SAMPLE_RATE)
    count = min(round(options.seconds * SAMPLE_RATE) or whole.samples, whole.samples - first)
    if count <= 0:
        length = whole.samples / SAMPLE_RATE
        raise UserError(f"{options.audio}: lasts {length:.2f} s, nothing is left from --start {options.start:g} on")
    if count > _LONGEST * SAMPLE_RATE:
        raise UserError(
            f"{options.audio}: {count / SAMPLE_RATE:.0f} s are too long to draw; choose up to {_LONGEST:g} s with "
            "--start and --seconds"
        )
    samples = whole.read(first, count)
    part = replace(whole, samples=len(samples), read=lambda start, number: samples[start : start + number])
    return part, samples


def _listen(model: AcousticModel, recording: Recording) -> Frames:
    ((heard,),) = model.pools([recording], log_probs=True)
    if isinstance(heard, Failure):
        raise UserError(heard.message)
    if not heard.symbols:
        raise UserError(f"{recording.name}: is shorter than one frame of the model; give a longer part")
    return heard


def _alignment(model: AcousticModel, frames: Frames, text: str) -> Alignment:
    assert frames.log_probs is not None
    aligned = align_text(frames.log_probs, text, model.vocabulary, name=frames.recording.name)
    return in_seconds(aligned, frames.recording, model.architecture, model.vocabulary)


def _facts(options: UtteranceOptions, recording: Recording, text: str, written: str) -> list[list[str]]:
    rows = [["recording", options.audio], ["model", options.model]]
    rows.append(["seconds", f"{options.start:g} to {options.start + recording.samples / SAMPLE_RATE:.4g}"])
    return [*rows, *([["text", text]] if text else []), ["the model writes", written or "(nothing)"]]
