"""Alignments as values, and as JSON, Praat TextGrid, SubRip captions and NIST CTM.

Times are seconds from the start of the audio. All formats are UTF-8 text. Symbols that the vocabulary lacks have no
time: they are null in JSON, part of the text in captions, and absent from TextGrid and CTM.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

AlignmentFormat = Literal["json", "textgrid", "srt", "ctm"]

SUFFIXES: dict[AlignmentFormat, str] = {"json": ".json", "textgrid": ".TextGrid", "srt": ".srt", "ctm": ".ctm"}

# Common rules for subtitles: two lines of 42 columns, one to six seconds, a new caption after a pause.
_COLUMNS = 42
_SHORTEST, _LONGEST, _PAUSE = 1.0, 6.0, 1.0
_SENTENCE_END = re.compile(r"[.!?…。！？।؟]['\"”’»)\]]*$")


@dataclass(frozen=True)
class TimedSymbol:
    """A character or a phone. start, end and score are None, all three, if the vocabulary lacks it."""

    text: str
    start: float | None
    end: float | None
    score: float | None


@dataclass(frozen=True)
class TimedWord:
    """A word as spelled in the given text, with the times of its symbols."""

    text: str
    start: float | None
    end: float | None
    score: float | None
    characters: tuple[TimedSymbol, ...] = ()


@dataclass(frozen=True)
class Alignment:
    """The times of the words of a recording.

    source: name of the recording. seconds: its length. score: geometric mean of the posterior over the frames of all
    words, in [0, 1]. log_probability: of the best path, in nats. spaced: whether words are separated by spaces.
    unknown: symbols without a time, with their counts.
    """

    source: str
    seconds: float
    score: float
    log_probability: float
    words: tuple[TimedWord, ...]
    spaced: bool = True
    unknown: dict[str, int] = field(default_factory=dict)


def as_json(alignment: Alignment, *, indent: int | None = 2) -> str:
    """Return a JSON object with the fields of `Alignment`, on one line if `indent` is None."""
    return json.dumps(asdict(alignment), ensure_ascii=False, indent=indent) + "\n"


def as_ctm(alignment: Alignment) -> str:
    """Return a line for each word: name (white space as `_`), channel 1, start, duration, word, score."""
    name = "_".join(alignment.source.split()) or "_"
    return "".join(
        f"{name} 1 {start:.4f} {end - start:.4f} {text} {score:.4f}\n"
        for start, end, text, score in _timed(alignment.words)
    )


def as_textgrid(alignment: Alignment) -> str:
    """Return Praat's long text format, with interval tiers `words` and `characters`; silence is an empty interval."""
    symbols = [symbol for word in alignment.words for symbol in word.characters]
    tiers = {"words": _timed(alignment.words), "characters": _timed(symbols)}
    xmax = _decimal(alignment.seconds)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {xmax}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, entries) in enumerate(tiers.items(), 1):
        intervals = list(_filled([entry[:3] for entry in entries], alignment.seconds))
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += ["        xmin = 0", f"        xmax = {xmax}", f"        intervals: size = {len(intervals)}"]
        for place, (start, end, text) in enumerate(intervals, 1):
            quoted = text.replace('"', '""')
            lines += [f"        intervals [{place}]:", f"            xmin = {_decimal(start)}"]
            lines += [f"            xmax = {_decimal(end)}", f'            text = "{quoted}"']
    return "\n".join(lines) + "\n"


def as_srt(alignment: Alignment) -> str:
    """Return SubRip captions of up to two lines of 42 columns and six seconds, split at pauses and sentence ends.

    Captions do not overlap. Each is shown for at least a second if the next one leaves room for it.
    """
    captions = list(_captions(alignment))
    starts = [round(1000 * start) for start, _, _ in captions]
    blocks = []
    for number, (start, end, words) in enumerate(captions, 1):
        following = starts[number] if number < len(starts) else round(1000 * max(alignment.seconds, end))
        stop = max(min(round(1000 * max(end, start + _SHORTEST)), following), starts[number - 1] + 1)
        text = "\n".join(_lines(words, spaced=alignment.spaced)).replace("-->", "→")
        blocks.append(f"{number}\n{_clock(starts[number - 1])} --> {_clock(stop)}\n{text}\n")
    return "\n".join(blocks)


WRITERS: dict[AlignmentFormat, Callable[[Alignment], str]] = {
    "json": as_json,
    "textgrid": as_textgrid,
    "srt": as_srt,
    "ctm": as_ctm,
}


def _timed(entries: Sequence[TimedWord | TimedSymbol]) -> list[tuple[float, float, str, float]]:
    """Return start, end, text and score of the entries that have a time."""
    return [
        (entry.start, entry.end, entry.text, entry.score)
        for entry in entries
        if entry.start is not None and entry.end is not None and entry.score is not None
    ]


def _filled(entries: Sequence[tuple[float, float, str]], seconds: float) -> Iterator[tuple[float, float, str]]:
    """Yield the entries, and empty intervals between them from 0 to `seconds`: Praat requires tiers without gaps."""
    reached = 0.0
    for start, end, text in entries:
        if start > reached:
            yield reached, start, ""
        yield start, end, text
        reached = end
    if seconds > reached:
        yield reached, seconds, ""


def _decimal(seconds: float) -> str:
    # Seven decimals represent every sample at 16 kHz exactly, so that neighbours have identical boundaries.
    return f"{seconds:.7f}".rstrip("0").rstrip(".")


def _captions(alignment: Alignment) -> Iterator[tuple[float, float, list[str]]]:
    """Yield start, end and words of each caption.

    A word without a time joins the caption of the word before it, or of the word after it at the beginning.
    """
    words: list[str] = []
    start = end = -1.0
    for word in alignment.words:
        if word.start is None or word.end is None:
            words.append(word.text)
            continue
        if start >= 0 and _breaks(words, word.text, word.start - end, word.end - start, spaced=alignment.spaced):
            yield start, end, words
            words, start = [], -1.0
        words.append(word.text)
        start, end = (word.start if start < 0 else start), word.end
    if start >= 0:
        yield start, end, words


def _breaks(words: list[str], coming: str, pause: float, lasts: float, *, spaced: bool) -> bool:
    """Whether a caption of `words` ends before the word `coming`; with it, the caption would last `lasts` seconds."""
    sentence = _SENTENCE_END.search(words[-1]) and sum(map(_width, words)) >= _COLUMNS // 2
    full = any(_width(line) > _COLUMNS for line in _lines([*words, coming], spaced=spaced))
    return bool(sentence) or full or pause >= _PAUSE or lasts > _LONGEST


def _lines(words: list[str], *, spaced: bool) -> list[str]:
    """Return one line if it is short enough, else two of about the same width."""
    glue = " " if spaced else ""
    whole = glue.join(words)
    if len(words) == 1 or _width(whole) <= _COLUMNS:
        return [whole]
    halves = ([glue.join(words[:cut]), glue.join(words[cut:])] for cut in range(1, len(words)))
    return min(halves, key=lambda lines: max(map(_width, lines)))


def _width(text: str) -> int:
    """Number of columns: two for wide East Asian characters, none for combining marks and joiners."""
    return sum(
        2 if unicodedata.east_asian_width(char) in "WF" else unicodedata.category(char) not in ("Mn", "Me", "Cf")
        for char in text
    )


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{rest:03}"
