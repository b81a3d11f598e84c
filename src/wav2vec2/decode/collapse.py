"""CTC's map from frames to symbols: runs merged, blanks dropped. Apart from `greedy`, so that no worker loads torch."""

from collections.abc import Sequence

from wav2vec2.decode.hypothesis import Hypothesis


def collapse(symbols: Sequence[int], blank: int, score: float = 0.0) -> Hypothesis:
    """Merge runs of equal `symbols` (one a frame) and drop blanks, keeping the first and last frame of each run."""
    ids: list[int] = []
    frames: list[int] = []
    last_frames: list[int] = []
    previous = blank
    for frame, symbol in enumerate(symbols):
        if symbol != blank:
            if symbol == previous:
                last_frames[-1] = frame
            else:
                ids.append(symbol)
                frames.append(frame)
                last_frames.append(frame)
        previous = symbol
    return Hypothesis(ids, frames, score, last_frames, acoustic_score=score)
