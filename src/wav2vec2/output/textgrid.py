"""TextGrids: the tiers of intervals that Praat shows under a recording."""

from collections.abc import Iterator, Sequence

from wav2vec2.output.timed import TimedText, timed_entries


def as_textgrid(text: TimedText) -> str:
    """Return Praat's long text format, with an interval tier `words`, and `characters` if their times are known.

    Silence is an empty interval. Words and characters without a time are absent. Intervals never overlap.
    """
    symbols = [symbol for word in text.words for symbol in word.characters]
    tiers = {"words": timed_entries(text.words)}
    if symbols:
        tiers["characters"] = timed_entries(symbols)
    longest = max([text.seconds, *(end for entries in tiers.values() for _, end, *_ in entries)])
    xmax = _decimal(longest)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {xmax}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, entries) in enumerate(tiers.items(), 1):
        intervals = list(_filled([entry[:3] for entry in entries], longest))
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += ["        xmin = 0", f"        xmax = {xmax}", f"        intervals: size = {len(intervals)}"]
        for place, (start, end, label) in enumerate(intervals, 1):
            quoted = label.replace('"', '""')
            lines += [f"        intervals [{place}]:", f"            xmin = {_decimal(start)}"]
            lines += [f"            xmax = {_decimal(end)}", f'            text = "{quoted}"']
    return "\n".join(lines) + "\n"


def _filled(entries: Sequence[tuple[float, float, str]], seconds: float) -> Iterator[tuple[float, float, str]]:
    """Yield the entries, and empty intervals between them from 0 to `seconds`: Praat requires tiers without gaps."""
    reached = 0.0
    for start, end, text in entries:
        begin = max(start, reached)
        if _decimal(begin) != _decimal(reached):
            yield reached, begin, ""
        if _decimal(end) != _decimal(begin) and end > begin:
            yield begin, end, text
            reached = end
    if seconds > reached:
        yield reached, seconds, ""


def _decimal(seconds: float) -> str:
    # Seven decimals represent every sample at 16 kHz exactly, so that neighbours have identical boundaries.
    return f"{seconds:.7f}".rstrip("0").rstrip(".")
