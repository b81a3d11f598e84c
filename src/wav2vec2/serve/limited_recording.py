"""An upload as a recording: no more than so many seconds of it are decoded, and a part of it can be asked for."""

from collections.abc import Iterator

from wav2vec2.audio.encoded_file import NamedFile
from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import StreamedRecording, Waveform
from wav2vec2.errors import UserError
from wav2vec2.serve.peaks import Peaks


class LimitedRecording(StreamedRecording):
    """A recording whose decoded seconds are limited, as a small file may hold hours of silence.

    part: the seconds that are heard of it, from and to.
    """

    def __init__(
        self, descriptor: int, name: str, most_seconds: float, part: tuple[float, float | None], peaks: Peaks | None
    ) -> None:
        source = NamedFile(f"/proc/self/fd/{descriptor}")
        source.name = name
        super().__init__(source, name)
        self._most, self._peaks = most_seconds, peaks
        self._from = round(part[0] * SAMPLE_RATE)
        self._to = None if part[1] is None else round(part[1] * SAMPLE_RATE)
        self.too_long = False

    def blocks(self) -> Iterator[Waveform]:
        """See `StreamedRecording`."""
        heard = 0
        for block in super().blocks():
            heard += len(block)
            if heard > self._most * SAMPLE_RATE:
                self.too_long = True
                raise UserError(f"{self.name}: is longer than {self._most:g} seconds; send it in parts")
            if self._peaks is not None:
                self._peaks.push(block)
            passed = heard - len(block)
            if len(
                kept := block[max(0, self._from - passed) : None if self._to is None else max(0, self._to - passed)]
            ):
                yield kept
            if self._to is not None and heard >= self._to:
                return
