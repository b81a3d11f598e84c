"""Data as other toolkits keep it: Kaldi's data directories and lhotse's manifests.

Kaldi: wav.scp (RECORDING FILE), and optionally segments (UTTERANCE RECORDING BEGIN END, in seconds), text, utt2spk and
utt2lang. FILE may be a command that ends in "|". No command is ever run; but where it only unpacks one file, such as
"flac -c -d -s a.flac |", that file is read.

lhotse: cuts (*cuts*.jsonl.gz), or recordings and supervisions (*recordings*.jsonl.gz beside *supervisions*.jsonl.gz).
"""

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from wav2vec2.audio.encoded_file import AudioError
from wav2vec2.audio.read import SAMPLE_RATE, audio_info
from wav2vec2.audio.recordings import is_audio_name, walk
from wav2vec2.data.corpora.delimited import text_lines
from wav2vec2.data.utterance import Rejection, Utterance
from wav2vec2.errors import UserError, quoted
from wav2vec2.input_file import parse_json

Row = dict[str, Any]

# Words that change nothing of what is said: programs that unpack a file, or only change its rate or coding.
_HARMLESS = {
    "flac": "-c -d -s -dc -cd -dcs -cds --decode --stdout --silent --totally-silent",
    "sph2pipe": "-f wav -p",
    "sox": "-t wav -r 16k 8k -b -c -e signed -G -V1 -",
    "ffmpeg": "-i -f wav -ar -ac -acodec pcm_s16le -vn -loglevel -v -y quiet error fatal - pipe:1 -nostdin -threads",
    "cat": "",
}
# These choose a channel, which changes nothing of a file that has only one.
_CHANNEL = re.compile(r"(?<=\s)(-map_channel 0\.0\.0|remix 1|(?<=pipe )-c 1|(?<=-f wav )-c 1|(?<=-p )-c 1)(?=\s|$)")
_LONGEST_JSON = 1 << 24  # characters of a cut
_MANIFEST = re.compile(r"\.jsonl?(\.gz)?$")


def scan_kaldi(folders: Sequence[Path], *, language: str = "") -> Iterator[Utterance | Rejection]:
    """Yield the utterances of data directories, not yet opened; the split is the directory's name.

    Args:
        folders: directories with a wav.scp, or folders above them.
        language: written into rows that utt2lang does not name.

    Raises:
        UserError: there is no wav.scp, or a file cannot be read.
    """
    found = [Path(folder) for root in folders for folder, names in walk(root) if "wav.scp" in names]
    if not found:
        named = ", ".join(map(str, folders)) or "prepare kaldi"
        raise UserError(f"{named}: holds no wav.scp: name Kaldi's data directories, such as data/train data/dev")
    for folder in found:
        yield from _kaldi_directory(folder, language)


def _kaldi_directory(folder: Path, language: str) -> Iterator[Utterance | Rejection]:
    texts, speakers, languages = (_mapping(folder / name) for name in ("text", "utt2spk", "utt2lang"))
    recordings = {key: _kaldi_file(key, value, folder) for key, value in _mapping(folder / "wav.scp").items()}
    spans = {key: (key, 0, -1) for key in recordings}
    broken: set[str] = set()
    if (folder / "segments").is_file():
        spans = {}
        for key, value in _mapping(folder / "segments").items():
            try:
                recording, begin, end = value.split()[:3]
                first, last = (round(float(time) * SAMPLE_RATE) for time in (begin, end))
                if first < 0 or first >= last >= 0:
                    raise ValueError
            except (ValueError, OverflowError):
                message = f"{folder / 'segments'}: {quoted(key)} is not 'UTTERANCE RECORDING BEGIN END'"
                yield Rejection(key, str(folder), "bad table row", message)
                broken.add(key)
                continue
            spans[key] = (recording, first, last - first if last >= 0 else -1)  # an end of -1 is that of the file
    for key, (recording, first, samples) in spans.items():
        audio = recordings.get(recording)
        if audio is None:
            message = f"{folder / 'wav.scp'}: has no recording {quoted(recording)}, which segments names"
            yield Rejection(key, str(folder), "missing", message)
        elif isinstance(audio, Rejection):
            yield replace(audio, id=key)
        elif texts and key not in texts:
            message = f"{folder / 'text'}: has no line for {quoted(key)}"
            yield Rejection(key, audio, "audio without transcript", message)
        else:
            yield Utterance(
                id=key,
                path=audio,
                start=first,
                samples=samples,
                text=texts.get(key),
                speaker=speakers.get(key, ""),
                split=folder.name,
                language=language or languages.get(key, ""),
                source=folder.absolute().parent.name,
            )
    for key in sorted(texts.keys() - spans.keys() - broken):
        message = f"{folder / 'text'}: {quoted(key)} has no recording"
        yield Rejection(key, str(folder), "transcript without audio", message)


def _mapping(path: Path) -> dict[str, str]:
    """Read lines "KEY VALUE ..."; empty if the file is not there."""
    if not path.exists():
        return {}
    parts = (line.strip().split(maxsplit=1) for line in text_lines(path))
    return {row[0]: row[1] if len(row) > 1 else "" for row in parts if row}


def _kaldi_file(key: str, value: str, folder: Path) -> str | Rejection:
    if value.endswith("|"):
        path = _unpacked_file(value, folder)
        if path is None:
            remedy = f"run it once yourself, {value.rstrip('| ')[:80]} > {key[:40]}.wav, and name that file in wav.scp"
            message = f"{folder / 'wav.scp'}: {quoted(key)} is a command, and no command is run from a file: {remedy}"
            return Rejection(key, str(folder), "command", message)
        value = path
    elif re.search(r"\.ark:\d+$", value):
        remedy = "unpack it with Kaldi's wav-copy and name the files in wav.scp"
        message = f"{folder / 'wav.scp'}: {quoted(key)} lies in an archive of Kaldi's: {remedy}"
        return Rejection(key, str(folder), "archive", message)
    return _located(value, folder)


def _unpacked_file(command: str, folder: Path) -> str | None:
    """Return the one file that a command unpacks, unless it does anything else to the sound; it is not run."""
    files: list[str] = []
    plain, channels = _CHANNEL.subn("", command.rstrip("| \t"))
    for stage in plain.split("|"):
        try:
            program, *words = shlex.split(stage)
        except ValueError:  # nothing, or a quotation mark that is not closed
            return None
        allowed = _HARMLESS.get(os.path.basename(program))
        if allowed is None or set("$`;&<>") & set(stage):
            return None
        files += [word for word in words if word not in allowed.split() and not word.isdecimal()]
    if len(files) != 1 or not is_audio_name(files[0]):
        return None
    if channels:
        with suppress(AudioError):
            info = audio_info(_located(files[0], folder))
            return files[0] if info.channels == 1 else None
    return None if channels else files[0]


def _located(path: str, folder: Path) -> str:
    """The file that a relative path means: seen from here, or from the folder of its list, or from one above."""
    if "://" in path or os.path.isabs(path):
        return path
    places = [os.path.abspath(path), *(str(above / path) for above in (folder, *folder.absolute().parents[:3]))]
    return next((place for place in places if os.path.exists(place)), places[0])


def scan_lhotse(sources: Sequence[Path], *, language: str = "") -> Iterator[Utterance | Rejection]:
    """Yield the supervisions of cuts or of recordings, not yet opened; the split is the end of the manifest's name.

    A cut without supervisions is unlabelled speech. Mixed, padded or augmented cuts and commands are Rejections.

    Args:
        sources: manifests, or folders of them.
        language: written into each row; empty: the supervision's own.

    Raises:
        UserError: there is no manifest, or one cannot be read.
    """
    files = [file for source in sources for file in ([source] if not source.is_dir() else lhotse_files(source))]
    cuts = [file for file in files if "recordings" not in file.name and "supervisions" not in file.name]
    chosen = cuts or files
    if not chosen:
        named = ", ".join(map(str, sources)) or "prepare lhotse"
        raise UserError(f"{named}: holds no *cuts*.jsonl.gz nor *recordings*.jsonl.gz: name lhotse's manifests")
    supervisions = {_split(file): file for file in chosen if "supervisions" in file.name}
    for file in chosen:
        if "supervisions" in file.name:
            continue
        beside = supervisions.get(_split(file)) if "recordings" in file.name else None
        for number, cut in enumerate(_cuts(file, beside), start=1):
            if not isinstance(cut, dict):
                yield Rejection("", str(file), "bad table row", f"{file}, entry {number}: is not a JSON object")
                continue
            try:
                yield from _cut_rows(cut, file, language)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError) as error:
                identity = str(cut.get("id", ""))
                why = f"lacks {error}" if isinstance(error, KeyError) else str(error)[:80]
                yield Rejection(identity, str(file), "bad table row", f"{file}, entry {number}: {why}")


def lhotse_files(folder: Path) -> list[Path]:
    """Return the manifests of cuts, recordings and supervisions in a folder."""
    kinds = ("cuts", "recordings", "supervisions")
    names = sorted(path for path in folder.iterdir() if _MANIFEST.search(path.name)) if folder.is_dir() else []
    return [path for path in names if any(kind in path.name for kind in kinds)]


def _split(file: Path) -> str:
    """The split in a name such as librispeech_cuts_train-clean-100.jsonl.gz; empty if there is none."""
    stem = _MANIFEST.sub("", file.name)
    return re.split(r"cuts|recordings|supervisions", stem)[-1].strip("_-.")


def _entries(file: Path) -> Iterator[Any]:
    if ".jsonl" not in file.name:
        try:
            content = parse_json("\n".join(text_lines(file, _LONGEST_JSON)))
        except ValueError as error:
            raise UserError(f"{file}: is not JSON ({str(error)[:80]}): export it from lhotse again") from None
        yield from content if isinstance(content, list) else [content]
        return
    for line in text_lines(file, _LONGEST_JSON):
        if line.strip():
            try:
                yield parse_json(line)
            except ValueError:
                yield None


def _cuts(file: Path, supervisions: Path | None) -> Iterator[Any]:
    """The cuts of a manifest; a recording becomes a cut with its supervisions."""
    if "recordings" not in file.name:
        yield from _entries(file)
        return
    said: dict[str, list[Row]] = {}
    for row in _entries(supervisions) if supervisions else ():
        if isinstance(row, dict):
            said.setdefault(str(row.get("recording_id")), []).append(row)
    for recording in _entries(file):
        if not isinstance(recording, dict):
            yield recording
            continue
        span = {"start": 0.0, "duration": recording.get("duration")}
        cut = {"id": recording.get("id"), "recording": recording, **span}
        yield cut | {"supervisions": said.pop(str(recording.get("id")), [])}


def _cut_rows(cut: Row, file: Path, language: str) -> Iterator[Utterance | Rejection]:
    identity = str(cut["id"])
    kind = cut.get("type", "MonoCut")
    if kind not in ("MonoCut", "MultiCut", "Cut"):
        why = f"{file}: cut {quoted(identity)} is a {quoted(kind)}, mixed from others: export cuts without augmentation"
        yield Rejection(identity, str(file), "mixed cut", why)
        return
    audio = _source(cut["recording"], cut.get("channel"), file)
    if isinstance(audio, str):
        yield Rejection(identity, str(file), "no plain file", f"{file}: cut {quoted(identity)}: {audio}")
        return
    row = replace(audio, split=_split(file), language=language, source=file.name.split("_")[0].split(".")[0])
    begin, length = float(cut["start"]), float(cut["duration"])
    supervisions = [one for one in cut.get("supervisions") or [] if isinstance(one, Mapping)]
    for one in supervisions or [{"id": identity, "start": 0.0, "duration": length}]:
        # A supervision may begin before its cut, or end after it: then only a part of it is heard.
        inside, last = float(one["start"]), float(one["start"]) + float(one["duration"])
        if inside < -0.05 or last > length + 0.05:
            why = f"{file}: supervision {quoted(one.get('id'))} reaches beyond its cut: trim cuts to supervisions"
            yield Rejection(str(one.get("id", identity)), str(file), "cut text", why)
            continue
        first = round((begin + max(0.0, inside)) * SAMPLE_RATE)
        samples = round((begin + min(length, last)) * SAMPLE_RATE) - first
        whole = first == 0 and abs(samples - round(float(cut["recording"]["duration"]) * SAMPLE_RATE)) <= 1
        if first < 0 or samples < 1:
            raise ValueError("ends before it begins")
        yield replace(
            row,
            id=str(one.get("id") or identity),
            start=first,
            samples=-1 if whole else samples,
            text=_said(one),
            speaker=str(one.get("speaker") or ""),
            language=language or str(one.get("language") or ""),
        )


def _said(supervision: Mapping[str, Any]) -> str | None:
    """The text of a supervision, or the first of several versions (Libriheavy keeps them in custom.texts)."""
    custom = supervision.get("custom")
    texts = custom.get("texts") if isinstance(custom, dict) else None
    text = supervision.get("text") or (texts[0] if isinstance(texts, list) and texts else None)
    return None if text is None else str(text)


def _source(recording: Row, channel: object, file: Path) -> Utterance | str:
    """The file of a recording as a row without text, or why it has none."""
    if any("resample" not in str(one).lower() for one in recording.get("transforms") or []):
        return "its recording is augmented (speed, volume, ...): export it without"
    sources = recording["sources"]
    if len(sources) != 1 or (isinstance(channel, int) and len(sources[0].get("channels") or [0]) > 1):
        return "it is one channel of several: write each channel to a file of its own"
    kind, path = sources[0]["type"], str(sources[0]["source"])
    if kind == "shar_ptr" and (piece := re.fullmatch(r"(.+)\?o=(\d+)&e=(\d+)", path)):
        begin, end = int(piece[2]), int(piece[3])
        return Utterance("", _located(piece[1], file.parent), offset=begin, size=end - begin)
    if kind not in ("file", "url"):
        return f"its audio is {quoted(kind)}, not a file: save the audio to files (lhotse's save_audios)"
    return Utterance("", _located(path, file.parent))
