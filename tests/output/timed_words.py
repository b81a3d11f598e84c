"""Words over frames for the tests of the writers."""

from hypothesis import strategies as st

from wav2vec2.output.timed import TimedSymbol, TimedText, TimedWord


def timed(
    words: list[tuple[str, float | None, float | None]], seconds: float = 10.0, *, spaced: bool = True
) -> TimedText:
    entries = []
    for text, start, end in words:
        score = None if start is None else 0.5
        entries.append(TimedWord(text, start, end, score, (TimedSymbol(text, start, end, score),)))
    return TimedText("a talk.wav", seconds, tuple(entries), spaced)


# Words over frames of 20 ms from 2.5 ms on: (text, frames of silence before, frames, whether it has a time).
WORD = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=12)
WORDS = st.lists(st.tuples(WORD, st.integers(0, 90), st.integers(1, 60), st.booleans()), max_size=40)


def laid_out(words: list[tuple[str, int, int, bool]]) -> TimedText:
    frame, entries = 0, []
    for text, pause, frames, is_timed in words:
        frame += pause
        first, last = frame, frame + frames - 1
        frame += frames
        times = ((320 * first + 40) / 16_000, (320 * last + 360) / 16_000) if is_timed else (None, None)
        entries.append((text, *times))
    return timed(entries, seconds=(320 * frame + 80) / 16_000)
