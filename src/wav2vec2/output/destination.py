"""Where results go: to stdout as they come, or to files of a folder, each of which appears whole or not at all."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from wav2vec2.errors import UserError
from wav2vec2.output.formats import ONE_RECORDING, SUFFIXES, Format, render
from wav2vec2.output.tables import as_tsv
from wav2vec2.output.transcript import Transcript
from wav2vec2.output_file import writing


class ToStdout:
    """Prints transcripts in one format. alone: there is only one, which needs no name before its text.

    The text of one that is alone is printed as it is recognised: on a terminal in lines, one for each piece between
    pauses, and otherwise as one line.

    Raises UserError for several formats, and for several recordings in a format whose files hold one each.
    """

    def __init__(self, formats: Sequence[Format], *, alone: bool, endless: bool = False) -> None:
        """endless: more may come, for ever, so that an array of JSON would not end."""
        if len(formats) > 1:
            raise UserError(f"--format {' and '.join(formats)}: cannot share stdout; name a folder with --out")
        self._format, self._alone = formats[0], alone
        if self._format in ONE_RECORDING and not alone:
            raise UserError(f"--format {self._format}: a file holds one recording; name a folder with --out")
        if self._format == "json" and endless:
            raise UserError("--format json: the array would never end; use jsonl, or name a folder with --out")
        self._first = True
        self.wants_pieces = self._format == "text" and alone
        self._lines = sys.stdout.isatty()
        self._in_line = self._added = False

    def add(self, text: str, gap: str) -> None:
        """Print what is said in a piece; `gap` comes between two pieces of one line."""
        if text:
            sys.stdout.write(f"{text}\n" if self._lines else f"{gap * self._in_line}{text}")
            sys.stdout.flush()
            self._added, self._in_line = True, not self._lines

    def fail(self) -> None:
        """Print no more of this recording."""
        if self._in_line:
            print(flush=True)
        self._in_line = self._added = False

    def write(self, transcript: Transcript, name: str) -> None:
        """Print a transcript; `name`, that of its output files, is not needed."""
        if self._added:  # its pieces have been printed
            self.fail()
        else:
            sys.stdout.write(self._content(transcript))
            sys.stdout.flush()
        self._first = False

    def close(self) -> None:
        """Print what comes after the last."""
        if self._format == "json":
            print("[]" if self._first else "]")

    def _content(self, transcript: Transcript) -> str:
        if self._format == "text":
            return f"{transcript.text}\n" if self._alone else f"{transcript.source}\t{transcript.text}\n"
        if self._format == "json":
            return ("[" if self._first else ",") + json.dumps(transcript.as_json(), ensure_ascii=False) + "\n"
        if self._format == "tsv":
            return as_tsv(transcript.timed(), header=self._first)
        return render(transcript, self._format)


class ToFolder:
    """Writes each result to a file in every format: NAME.srt, NAME.json, ..."""

    wants_pieces = False

    def __init__(self, folder: Path, formats: Sequence[Format]) -> None:
        """Nothing is written yet. Raises UserError if the folder is a file."""
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--out {folder}: is a file; name a folder")
        self.folder, self._formats = folder, formats

    def add(self, text: str, gap: str) -> None:
        """A file appears when all of it is known."""

    def fail(self) -> None:
        """Nothing has been written."""

    def finished(self, name: str) -> bool:
        """Whether all files of a recording are there."""
        return all(path.is_file() for path in self._paths(name))

    def write(self, transcript: Transcript, name: str) -> None:
        """Write the files of a recording. Raises UserError if that is not possible."""
        for path, style in zip(self._paths(name), self._formats, strict=True):
            with writing(path) as temporary:
                Path(temporary).write_text(render(transcript, style, name), encoding="utf-8", newline="\n")

    def close(self) -> None:
        """There is nothing left to write."""

    def _paths(self, name: str) -> list[Path]:
        return [self.folder / f"{name}{SUFFIXES[style]}" for style in self._formats]
