"""A small tree in TIMIT's layout: NIST SPHERE recordings, in which every phone has a sound of its own, and labels."""

from pathlib import Path

import numpy as np

from wav2vec2.text.phones import PHONES_61

PHONE_SAMPLES = 1_280
SENTENCES = {
    "SA1": "h# sh iy hv ae dcl d h#",
    "SI648": "h# q ae bcl b ix tcl t pau zh en h#",
    "SX37": "h# dh ax-h kcl k ao r nx ux epi m h#",
}
# A speaker of each kind: two of TRAIN; of TEST the core test set, the development set and neither.
SPEAKERS = {
    "TRAIN": ("DR1/FCJF0", "DR2/MARC0"),
    "TEST": ("DR1/FELC0", "DR1/FAKS0", "DR4/FADG0", "DR1/MSJS1"),
}


def write_sphere(path: Path, samples: np.ndarray, *, coding: str = "pcm") -> Path:
    """Write 16-bit samples, in [-1, 1], behind a NIST header of 1,024 bytes as TIMIT has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    integers = np.round(np.clip(samples, -1, 1) * 32_767).astype("<i2")
    fields = [
        "database_id -s5 TIMIT",
        "channel_count -i 1",
        f"sample_count -i {len(integers)}",
        "sample_rate -i 16000",
        "sample_n_bytes -i 2",
        "sample_byte_format -s2 01",
        "sample_sig_bits -i 16",
        f"sample_coding -s{len(coding)} {coding}",
        "end_head",
    ]
    header = "NIST_1A\n   1024\n" + "\n".join(fields) + "\n"
    path.write_bytes(header.encode("ascii").ljust(1_024) + integers.tobytes())
    return path


def sound(phone: str, samples: int = PHONE_SAMPLES) -> np.ndarray:
    """Two tones that only this phone has; silences are nearly silent."""
    number = PHONES_61.index(phone)
    time = np.arange(samples) / 16_000
    loudness = 0.01 if phone in ("h#", "pau", "epi") else 0.4
    tones = np.sin(2 * np.pi * (150 + 40 * number) * time) + np.sin(2 * np.pi * (3_000 - 35 * number) * time)
    return loudness / 2 * tones


def write_utterance(folder: Path, name: str, phones: str, audio: np.ndarray | None = None, lower: bool = False) -> None:
    """Write NAME.WAV, .PHN, .WRD and .TXT; `lower` writes their names in lower case."""
    labels = phones.split()
    samples = np.concatenate([sound(label) for label in labels]) if audio is None else audio
    times = [(i * PHONE_SAMPLES, (i + 1) * PHONE_SAMPLES, label) for i, label in enumerate(labels)]
    end = times[-1][1]
    files = {
        "PHN": "".join(f"{a} {b} {label}\n" for a, b, label in times),
        "WRD": f"0 {end // 2} she\n{end // 2} {end} had\n",
        "TXT": f"0 {end} She had.\n",
    }

    def named(suffix: str) -> Path:
        return folder / (f"{name}.{suffix}".lower() if lower else f"{name}.{suffix}")

    write_sphere(named("WAV"), samples)
    for suffix, content in files.items():
        named(suffix).write_text(content)


def timit_tree(root: Path, *, lower: bool = False) -> Path:
    """Write every sentence of `SENTENCES` for every speaker of `SPEAKERS`."""
    for part, speakers in SPEAKERS.items():
        for speaker in speakers:
            folder = f"{part}/{speaker}"
            for name, phones in SENTENCES.items():
                write_utterance(root / (folder.lower() if lower else folder), name, phones, lower=lower)
    return root
