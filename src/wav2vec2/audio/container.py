"""What a file's first bytes say about its container; names can lie."""

_SPHERE = b"NIST_1A"
_SPHERE_HEADER = 1024  # bytes, in practice always; the header says so itself in its second line


def container_of(head: bytes) -> str | None:
    """The usual suffix of the container whose first bytes (64 or more) these are; None for all but the common ones."""
    if head[:4] == b"OggS":
        return "opus" if b"OpusHead" in head else "ogg"
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[4:8] == b"ftyp":
        return "m4a"
    for magic, suffix in ((b"fLaC", "flac"), (b"ID3", "mp3"), (b"\x1aE\xdf\xa3", "webm"), (b"FORM", "aiff")):
        if head.startswith(magic):
            return suffix
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "aac" if head[1] & 0x06 == 0 else "mp3"
    return None


def sphere_compression(head: bytes) -> str:
    """How a NIST SPHERE file's samples are packed inside ("shorten", ...), from its header; empty if they are not.

    Args:
        head: the file's first 1,024 bytes.
    """
    if not head.startswith(_SPHERE):
        return ""
    for line in head[:_SPHERE_HEADER].split(b"\n"):
        if line.startswith(b"sample_coding") and b"embedded-" in line:
            return line.split(b"embedded-")[1].split(b"-")[0].decode("ascii", "replace").strip()
    return ""
