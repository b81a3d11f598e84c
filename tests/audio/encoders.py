"""Files as real encoders write them: what each is, and the command that makes it.

The programs are those of Debian: ffmpeg, lame, opusenc, oggenc, flac and sox. In a command `IN` is a WAV file, mono at
16 kHz, `STEREO` the same words at 44.1 kHz with two channels, and `OUT` the file to make.
"""

import shlex
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Encoding:
    """One way to write a file. `change` is done to its bytes afterwards, as a recorder or a download may leave it."""

    name: str
    suffix: str
    command: str
    change: Callable[[bytes], bytes] | None = None
    warned: bool = False
    """Whether the reader has to say that the file is cut short."""
    refused: str = ""
    """What the refusal says, if the file cannot be read."""

    @property
    def known_wrong_in_ffmpeg(self) -> bool:
        """Whether FFmpeg's program leaves out samples.

        These are AMR packets, frames whose time stamps go back, and what is beyond 2^24 bytes in a block of VOC.
        """
        return self.name.startswith(("sox AMR-NB", "AMR cut", "two Ogg", "two FLAC", "sox voc"))

    @property
    def program(self) -> str:
        return self.command.split()[0]

    @property
    def available(self) -> bool:
        return shutil.which(self.program) is not None

    @property
    def output(self) -> tuple[str, list[str]] | None:
        """The source and the options, where the command is one file to another by ffmpeg, which can write many."""
        words = shlex.split(self.command)
        plain = words[:2] == ["ffmpeg", "-i"] and words[-1] == "OUT" and "-i" not in words[2:]
        return (words[2], words[3:-1]) if plain else None

    def path(self, folder: Path) -> Path:
        return folder / f"{self.name.replace(' ', '_').replace('/', '-')}.{self.suffix}"

    def write(self, folder: Path, mono: Path, stereo: Path) -> Path:
        out = self.path(folder)
        words = {"IN": str(mono), "STEREO": str(stereo), "OUT": str(out), "PICTURE": str(folder / "picture.jpg")}
        command = [words.get(word, word) for word in shlex.split(self.command)]
        if self.program == "ffmpeg":
            command[1:1] = ["-v", "error", "-y", "-nostdin"]
        piped = "OUT" not in shlex.split(self.command)
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)}: {done.stderr.decode(errors='replace')[-500:]}")
        if piped:
            out.write_bytes(done.stdout)
        return self.changed(out)

    def changed(self, out: Path) -> Path:
        if self.change is not None:
            out.write_bytes(self.change(out.read_bytes()))
        return out


def write_all(encodings: Iterable[Encoding], folder: Path, mono: Path, stereo: Path) -> None:
    """Write files, those of ffmpeg by one process: it takes longer to start than to encode a few seconds."""
    together, alone = [], []
    for encoding in encodings:
        (together if encoding.output else alone).append(encoding)
    command = ["ffmpeg", "-v", "error", "-y", "-nostdin", "-i", str(mono), "-i", str(stereo)]
    for encoding in together:
        source, options = encoding.output or ("", [])
        command += ["-map", "0:a" if source == "IN" else "1:a", *options, str(encoding.path(folder))]
    if together and subprocess.run(command, capture_output=True, check=False).returncode == 0:
        for encoding in together:
            encoding.changed(encoding.path(folder))
    else:
        alone += together  # then the one that cannot be written names itself
    for encoding in alone:
        encoding.write(folder, mono, stereo)


def cut(content: bytes) -> bytes:
    """A download that stopped at 60 %."""
    return content[: len(content) * 6 // 10]


def twice(content: bytes) -> bytes:
    """`cat a a`."""
    return content + content


def data_size(size: int) -> Callable[[bytes], bytes]:
    """A WAV file whose writer never came back to fill in the size."""

    def change(content: bytes) -> bytes:
        place = content.index(b"data") + 4
        return content[:place] + struct.pack("<I", size) + content[place + 4 :]

    return change


def _mp3() -> Iterator[Encoding]:
    for source in ("IN", "STEREO"):
        kind = "mono" if source == "IN" else "joint stereo"
        for option in ("-b 32", "-b 64", "-b 128", "-V 0", "-V 4", "-V 9", "--abr 96"):
            yield Encoding(f"lame {option} {kind}", "mp3", f"lame --quiet {option} {source} OUT")
        for option in ("-b 64", "-V 4", "--abr 96"):
            yield Encoding(f"lame -t {option} {kind}", "mp3", f"lame --quiet -t {option} {source} OUT")
    for mode in "s", "m":
        yield Encoding(f"lame -m {mode}", "mp3", f"lame --quiet -m {mode} -b 96 STEREO OUT")
    for rate in ("8", "11.025", "12", "16", "22.05", "24", "32", "44.1", "48"):
        yield Encoding(f"lame at {rate} kHz", "mp3", f"lame --quiet -V 5 --resample {rate} STEREO OUT")
    for tag in ("--id3v1-only --tt Title", "--id3v2-only --tt Title", "--add-id3v2 --tt Title --ti PICTURE"):
        yield Encoding(f"lame {tag.split()[0]}", "mp3", f"lame --quiet -V 4 {tag} IN OUT")
    for option in ("-q:a 4", "-b:a 64k", "-q:a 4 -write_xing 0", "-b:a 64k -write_xing 0", "-b:a 64k -id3v2_version 0"):
        yield Encoding(f"ffmpeg {option}", "mp3", f"ffmpeg -i STEREO -c:a libmp3lame {option} OUT")
    yield Encoding("ffmpeg mp2", "mp2", "ffmpeg -i STEREO -c:a mp2 OUT")
    yield Encoding("ffmpeg MP3 in WAV", "wav", "ffmpeg -i STEREO -c:a libmp3lame -f wav OUT")


def _aac() -> Iterator[Encoding]:
    for suffix in ("m4a", "mp4", "aac", "mov", "mka", "3gp", "m4b"):
        form = {"m4b": "-f ipod"}.get(suffix, "")
        yield Encoding(f"ffmpeg AAC {suffix}", suffix, f"ffmpeg -i STEREO -c:a aac {form} OUT")
    yield Encoding("ffmpeg AAC at 16 kHz", "m4a", "ffmpeg -i IN -c:a aac -b:a 32k OUT")
    yield Encoding("ffmpeg AAC at 8 kHz", "m4a", "ffmpeg -i IN -ar 8000 -c:a aac OUT")
    yield Encoding("ffmpeg AAC 5.1", "m4a", "ffmpeg -i STEREO -ac 6 -c:a aac OUT")
    yield Encoding("ffmpeg AAC index first", "m4a", "ffmpeg -i STEREO -c:a aac -movflags +faststart OUT")
    fragments = "-movflags frag_keyframe+empty_moov -frag_duration 500000"
    yield Encoding("ffmpeg AAC in fragments", "mp4", f"ffmpeg -i STEREO -c:a aac {fragments} OUT")
    yield Encoding("ffmpeg AAC LATM", "latm", "ffmpeg -i STEREO -c:a aac -f latm OUT")
    yield Encoding("ffmpeg ALAC m4a", "m4a", "ffmpeg -i STEREO -c:a alac OUT")
    yield Encoding("ffmpeg ALAC caf", "caf", "ffmpeg -i STEREO -c:a alac OUT")


def _ogg() -> Iterator[Encoding]:
    for size in ("2.5", "10", "20", "60"):
        yield Encoding(f"opusenc frames of {size} ms", "opus", f"opusenc --quiet --framesize {size} IN OUT")
    yield Encoding("opusenc stereo", "opus", "opusenc --quiet STEREO OUT")
    yield Encoding("opusenc speech at 8 kbit/s", "opus", "opusenc --quiet --speech --bitrate 8 IN OUT")
    for suffix in ("ogg", "webm", "mkv", "mp4", "caf"):
        yield Encoding(f"ffmpeg Opus {suffix}", suffix, "ffmpeg -i STEREO -c:a libopus OUT")
    for kind in ("webm", "matroska"):
        name = f"ffmpeg Opus {kind} through a pipe, without a duration"
        yield Encoding(name, "webm", f"ffmpeg -i IN -c:a libopus -f {kind} -live 1 -")
    yield Encoding("ffmpeg Opus ogg at 16 kHz", "ogg", "ffmpeg -i IN -c:a libopus -b:a 16k OUT")
    for quality in ("-1", "3", "10"):
        yield Encoding(f"oggenc -q {quality}", "ogg", f"oggenc --quiet -q {quality} STEREO -o OUT")
    yield Encoding("oggenc at 8 kHz", "ogg", "oggenc --quiet --resample 8000 IN -o OUT")
    yield Encoding("oggenc mono", "oga", "oggenc --quiet IN -o OUT")
    for suffix in ("webm", "mka"):
        yield Encoding(f"ffmpeg Vorbis {suffix}", suffix, "ffmpeg -i STEREO -c:a libvorbis OUT")
    yield Encoding("ffmpeg Speex", "spx", "ffmpeg -i IN -c:a libspeex OUT")
    yield Encoding("ffmpeg Speex at 8 kHz", "ogg", "ffmpeg -i IN -ar 8000 -c:a libspeex -f ogg OUT")


def _flac() -> Iterator[Encoding]:
    for option in ("-0", "-8", "--no-seektable", "-b 16"):
        yield Encoding(f"flac {option}", "flac", f"flac --silent {option} STEREO -o OUT")
    yield Encoding("flac --picture", "flac", "flac --silent --picture PICTURE STEREO -o OUT")
    yield Encoding("flac --ogg", "oga", "flac --silent --ogg STEREO -o OUT")
    yield Encoding("flac to a pipe", "flac", "flac --silent --stdout STEREO")
    yield Encoding("sox FLAC of 24 bits", "flac", "sox -D STEREO -b 24 OUT")
    yield Encoding("sox FLAC of 8 bits", "flac", "sox -D STEREO -b 8 OUT")
    yield Encoding("ffmpeg FLAC mka", "mka", "ffmpeg -i STEREO -c:a flac OUT")
    yield Encoding("ffmpeg FLAC mp4", "mp4", "ffmpeg -i STEREO -c:a flac -strict -2 OUT")


def _wav() -> Iterator[Encoding]:
    for codec in ("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_mulaw", "pcm_alaw"):
        yield Encoding(f"ffmpeg WAV {codec}", "wav", f"ffmpeg -i STEREO -c:a {codec} OUT")
    for codec in ("adpcm_ms", "adpcm_ima_wav", "g726", "adpcm_yamaha", "libgsm_ms"):
        mono = codec in ("g726", "libgsm_ms")
        rate = "-ar 8000" if mono else ""
        yield Encoding(f"ffmpeg WAV {codec}", "wav", f"ffmpeg -i {'IN' if mono else 'STEREO'} {rate} -c:a {codec} OUT")
    yield Encoding("ffmpeg WAV extensible 5.1", "wav", "ffmpeg -i STEREO -ac 6 -c:a pcm_s24le OUT")
    yield Encoding("ffmpeg WAV bext", "wav", "ffmpeg -i STEREO -write_bext 1 -metadata description=a OUT")
    yield Encoding("ffmpeg RF64", "wav", "ffmpeg -i STEREO -rf64 always OUT")
    yield Encoding("ffmpeg W64", "w64", "ffmpeg -i STEREO OUT")
    yield Encoding("ffmpeg WAV to a pipe", "wav", "ffmpeg -i STEREO -f wav -")
    yield Encoding("sox WAV to a pipe", "wav", "sox STEREO -t wav -")
    for size in (0, 0xFFFFFFFF, 0x7FFFFFFF):
        name = f"WAV with a data size of {size:#x}"
        yield Encoding(name, "wav", "ffmpeg -i STEREO -bitexact -map_metadata -1 OUT", data_size(size))
    yield Encoding("sox WAV GSM", "wav", "sox -D IN -r 8000 -e gsm-full-rate OUT")
    for suffix in ("aiff", "aifc", "au", "caf", "voc", "sph", "8svx", "ircam", "w64", "gsm", "paf", "pvf", "snd"):
        depth = "-r 8000 -b 8" if suffix == "8svx" else "-r 8000" if suffix == "gsm" else "-b 16"
        yield Encoding(f"sox {suffix}", suffix, f"sox -D IN {depth} OUT")
    for suffix in ("aiff", "au", "caf"):
        yield Encoding(f"ffmpeg {suffix}", suffix, "ffmpeg -i STEREO OUT")
    yield Encoding("ffmpeg AIFF-C mu-law", "aiff", "ffmpeg -i STEREO -c:a pcm_mulaw OUT")
    yield Encoding("ffmpeg CAF mu-law", "caf", "ffmpeg -i STEREO -c:a pcm_mulaw OUT")
    yield Encoding("ffmpeg AU to a pipe", "au", "ffmpeg -i STEREO -f au -")


def _others() -> Iterator[Encoding]:
    yield Encoding("sox AMR-NB", "amr", "sox -D IN -r 8000 -t amr-nb OUT")
    for codec, suffix in (("wmav1", "wma"), ("wmav2", "wma"), ("ac3", "ac3"), ("eac3", "eac3"), ("tta", "tta")):
        yield Encoding(f"ffmpeg {codec}", suffix, f"ffmpeg -i STEREO -c:a {codec} OUT")
    yield Encoding("ffmpeg WavPack", "wv", "ffmpeg -i STEREO -c:a wavpack OUT")
    yield Encoding("ffmpeg DTS", "dts", "ffmpeg -i STEREO -ar 48000 -c:a dca -strict -2 OUT")
    yield Encoding("ffmpeg TrueHD", "thd", "ffmpeg -i STEREO -ar 48000 -c:a truehd -strict -2 OUT")
    yield Encoding("ffmpeg G.722", "g722", "ffmpeg -i IN -c:a g722 OUT")


def _video() -> Iterator[Encoding]:
    picture = "ffmpeg -f lavfi -i color=s=64x64:r=5 -i STEREO -shortest"
    for suffix, codecs in {
        "mp4": "-c:v libx264 -c:a aac", "m4v": "-c:v libx264 -c:a aac -f mp4", "mov": "-c:v libx264 -c:a pcm_s16le",
        "mkv": "-c:v libx264 -c:a libvorbis", "webm": "-c:v libvpx -c:a libopus", "avi": "-c:v mpeg4 -c:a libmp3lame",
        "flv": "-c:v flv -c:a libmp3lame", "mpg": "-r 25 -c:v mpeg2video -c:a mp2", "ts": "-c:v libx264 -c:a aac",
        "ogv": "-c:v libtheora -c:a libvorbis", "wmv": "-c:v wmv2 -c:a wmav2",
    }.items():  # fmt: skip
        yield Encoding(f"video {suffix}", suffix, f"{picture} {codecs} OUT")
    two = (
        "ffmpeg -f lavfi -i color=s=64x64:r=5 -i STEREO -i IN -shortest -map 0 -map 1 -map 2 -c:v libx264 -c:a aac OUT"
    )
    yield Encoding("video with two audio tracks", "mp4", two, warned=True)


def _joined() -> Iterator[Encoding]:
    yield Encoding("two MP3 joined", "mp3", "lame --quiet -V 4 IN OUT", twice)
    yield Encoding("two MP3 without a header joined", "mp3", "lame --quiet -t -V 4 IN OUT", twice)
    yield Encoding("two Ogg Vorbis joined", "ogg", "oggenc --quiet IN -o OUT", twice)
    yield Encoding("two Ogg Opus joined", "opus", "opusenc --quiet IN OUT", twice)
    yield Encoding("two AAC joined", "aac", "ffmpeg -i IN -c:a aac OUT", twice)
    yield Encoding("two FLAC joined", "flac", "flac --silent IN -o OUT", twice)
    yield Encoding("two WAV joined", "wav", "sox IN OUT", twice, warned=True)


def _cut() -> Iterator[Encoding]:
    for name, suffix, command in (
        ("MP3", "mp3", "lame --quiet -V 4 IN OUT"),
        ("MP3 of a constant rate", "mp3", "lame --quiet -b 64 STEREO OUT"),
        ("AAC", "aac", "ffmpeg -i STEREO -c:a aac OUT"),
        ("AAC index first", "m4a", "ffmpeg -i STEREO -c:a aac -movflags +faststart OUT"),
        ("AAC in fragments", "mp4", "ffmpeg -i STEREO -c:a aac -movflags frag_keyframe+empty_moov OUT"),
        ("Vorbis", "ogg", "oggenc --quiet STEREO -o OUT"),
        ("Opus", "opus", "opusenc --quiet IN OUT"),
        ("Opus WebM", "webm", "ffmpeg -i IN -c:a libopus OUT"),
        ("FLAC", "flac", "flac --silent STEREO -o OUT"),
        ("WAV", "wav", "sox STEREO OUT"),
        ("W64", "w64", "ffmpeg -i STEREO OUT"),
        ("AIFF", "aiff", "sox STEREO OUT"),
        ("AU", "au", "sox STEREO OUT"),
        ("CAF", "caf", "ffmpeg -i STEREO OUT"),
        ("WMA", "wma", "ffmpeg -i STEREO -c:a wmav2 OUT"),
        ("AMR", "amr", "sox -D IN -r 8000 -t amr-nb OUT"),
        ("AC3", "ac3", "ffmpeg -i STEREO -c:a ac3 OUT"),
        ("transport stream", "ts", "ffmpeg -i STEREO -c:a aac OUT"),
        ("TTA", "tta", "ffmpeg -i STEREO -c:a tta OUT"),
        ("WavPack", "wv", "ffmpeg -i STEREO -c:a wavpack OUT"),
        ("video", "mkv", "ffmpeg -f lavfi -i color=s=64x64:r=5 -i STEREO -shortest -c:v libx264 -c:a libvorbis OUT"),
    ):
        yield Encoding(f"{name} cut at 60 %", suffix, command, cut, warned=True)
    yield Encoding("MP3 without a header cut at 60 %", "mp3", "lame --quiet -t -V 4 IN OUT", cut, warned=True)
    index = "its index, which stands at the end, is missing"
    yield Encoding("M4A cut at 60 %", "m4a", "ffmpeg -i STEREO -c:a aac OUT", cut, refused=index)


FAMILIES = [list(of()) for of in (_mp3, _aac, _ogg, _flac, _wav, _others, _video, _joined, _cut)]
ENCODINGS = [encoding for family in FAMILIES for encoding in family]
