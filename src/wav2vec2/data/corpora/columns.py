"""Which column of a table is the path, the transcript, the speaker, ...: the names that tables out there use."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wav2vec2.errors import UserError, quoted

NO_TEXT = "none"
"""Value of --text-column for a table that is to be read without transcripts."""

# Names without case, spaces and punctuation, the best one first: a table may have several of a kind.
_PATHS = (
    "path filename audiofilename audiofilepath audiopath audiofile wavfilename wavpath wavfile wav filepath file audio "
    "clip clippath recordingpath"
)
PATH_NAMES = frozenset(_PATHS.split())
"""Names of columns of paths, in lower case, letters and digits only."""
_TEXTS = (
    "text sentence transcript transcription normalizedtext normalisedtext normedtext textnormalized textnormalised "
    "normalizedtranscription normalizedtranscript srctext tgttext rawtext rawtranscription rawtranscript originaltext "
    "textoriginal orthographictranscription orthography wrd words"
)
_NAMES = {
    "path": _PATHS,
    "text": _TEXTS,
    "speaker": "speaker speakerid spkid spk clientid speakername",
    "split": "split subset partition",
    "language": "language lang locale",
    "id": "id uttid utteranceid segmentid",
    "start": "start offset starttime",
    "end": "end endtime",
    "stop": "stop",
    "duration": "duration",
}
_TEXT_LIKE = ("text", "trans", "senten", "utter", "word", "wrd", "label", "caption", "phrase", "prompt", "script")
_LOOKED_AT = 50  # rows whose values tell whether a column holds sentences
_SPACES = 3  # of a value that is a sentence
_SHOWN = 12


class Columns:
    """The columns of one table by their role; remembers whether any row had a transcript."""

    def __init__(self, table: Path, *, text: str = "", path: str = "") -> None:
        """Prepare to read a table.

        Args:
            table: its name, for messages.
            text: the column of transcripts, or "none" to read none; empty: by its name.
            path: the column of paths; empty: by its name.
        """
        self._table = table
        self._chosen = {"text": text, "path": path}
        self._roles: dict[tuple[str, ...], dict[str, str]] = {}
        self._rows = self._labelled = 0
        self._sentences: dict[str, int] = {}
        self._lettered: set[str] = set()

    def roles(self, names: Sequence[str]) -> dict[str, str]:
        """Return the column of each role that is there. Raises UserError if a column named by an option is not."""
        key = tuple(names)
        if key not in self._roles:
            self._roles[key] = self._find(names)
        return self._roles[key]

    def _find(self, names: Sequence[str]) -> dict[str, str]:
        plain = {name: "".join(char for char in name.casefold() if char.isalnum()) for name in reversed(names)}
        by_plain = {short: name for name, short in plain.items()}
        found = {
            role: next(by_plain[short] for short in shorts.split() if short in by_plain)
            for role, shorts in _NAMES.items()
            if any(short in by_plain for short in shorts.split())
        }
        if "path" not in found:  # any *_file_name, as in an audio folder of Hugging Face
            named = [name for name in names if plain[name].endswith("filename")]
            found |= {"path": named[0]} if len(named) == 1 else {}
        if ("starttime" in by_plain) != ("endtime" in by_plain):  # one alone may be a time of day
            found = {role: name for role, name in found.items() if plain[name] not in ("starttime", "endtime")}
        if self._chosen["text"] == NO_TEXT:
            found.pop("text", None)
        for role, chosen in self._chosen.items():
            if chosen and not (role == "text" and chosen == NO_TEXT):
                if chosen not in names:
                    raise UserError(f"{self._table}: has no column {quoted(chosen)}: choose among {listed(names)}")
                found[role] = chosen
        return found

    def by_role(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row's values by role. Raises UserError as `roles` does."""
        roles = self.roles(list(row))
        values = {role: row[name] for role, name in roles.items()}
        self._rows += 1
        text = values.get("text")
        self._labelled += text is not None and bool(str(text).strip())
        if self._rows <= _LOOKED_AT:
            used = set(roles.values()) - {roles.get("text")}
            for name, value in row.items():
                if name not in used and isinstance(value, str) and any(char.isalpha() for char in value):
                    self._lettered.add(name)
                    self._sentences[name] = self._sentences.get(name, 0) + (value.strip().count(" ") >= _SPACES)
        return values

    def need_path(self, names: Sequence[str]) -> None:
        """Raise UserError if no column holds the paths."""
        if "path" not in self.roles(names):
            remedy = "write a header such as path,text,speaker, or name the column by --path-column"
            raise UserError(f"{self._table}: has no column 'path' in its first line, only {listed(names)}: {remedy}")

    def need_transcripts(self) -> None:
        """Raise UserError if no row had a transcript although some column looks like one."""
        if self._labelled or not self._rows or self._chosen["text"] == NO_TEXT:
            return
        names = list(dict.fromkeys(name for key in self._roles for name in key))
        used = {name for roles in self._roles.values() for role, name in roles.items() if role != "text"}
        chosen = {roles["text"] for roles in self._roles.values() if "text" in roles}
        half = min(self._rows, _LOOKED_AT) / 2
        likely = [
            name
            for name in names
            if self._sentences.get(name, 0) > half
            or (name in chosen | self._lettered - used and any(part in name.casefold() for part in _TEXT_LIKE))
        ]
        if likely:
            remedy = f"name the right one by --text-column, or leave them out by --text-column {NO_TEXT}"
            problem = f"no row has a transcript, though these columns may hold one: {listed(likely)}"
            raise UserError(f"{self._table}: {problem}: {remedy}")


def listed(names: Sequence[str]) -> str:
    """Column names for a message, shortened if there are many or they are long."""
    shown = ", ".join(quoted(name) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
