"""Presets: the settings of a search in a TOML file, as `wav2vec2 tune` writes it, and the paper's settings by name.

Tables 7 and 8 of the paper give the weight of the 4-gram for decimal logarithms, because flashlight passes KenLM's
scores on as they are, and the weight of the Transformer for natural ones. All weights in this package are for natural
logarithms: here, and only here, those of the 4-gram are divided by ln 10.
"""

import difflib
import hashlib
import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from wav2vec2.config import load_recipe, write_toml
from wav2vec2.decode.search import SearchOptions
from wav2vec2.decode.words import LmCase
from wav2vec2.errors import UserError
from wav2vec2.input_file import open_input, refuse_special
from wav2vec2.output_file import writing

DecoderName = Literal["greedy", "beam", "lexicon"]
_PRINT_BYTES = 1 << 20


@dataclass(frozen=True)
class Tuned:
    """A record of how a preset was tuned, and on what."""

    model: str = ""
    manifest: str = ""
    split: str = ""
    utterances: int = 0
    wer: float | None = None
    """Word error rate of the best trial, as a fraction."""
    greedy_wer: float | None = None
    """That of greedy decoding of the same utterances."""
    trials: int = 0
    sampler: str = ""
    seed: int = 0
    beam: int = 0
    """Beam size of the trials."""

    @property
    def helps(self) -> bool:
        """Whether the search had fewer errors than greedy decoding; True where that is not known."""
        return self.wer is None or self.greedy_wer is None or self.wer < self.greedy_wer


@dataclass(frozen=True)
class Preset:
    """All settings of a search: decoder, language models and numbers. Paths in a file are relative to its folder."""

    decoder: DecoderName = "lexicon"
    lm: str | None = None
    """ARPA file, KenLM binary, or folder of a Transformer language model."""
    lm_print: str = ""
    """Fingerprint of `lm`: the weights were tuned for this model only. Empty: not checked."""
    lm_case: LmCase = "keep"
    lexicon: str | None = None
    rescore: str | None = None
    """Folder of a Transformer language model that rescores the n-best list."""
    rescore_weight: float = 0.5
    rescore_word_score: float = 0.0
    rescore_share: float = 1.0
    """Share of `rescore` in a linear mixture with `lm`; 1 means `rescore` alone."""
    pause: float | None = None
    """How long recordings are cut into pieces; None: as without a preset (see --pause, --margin and --statistics)."""
    margin: float | None = None
    statistics: Literal["piece", "recording"] | None = None
    search: SearchOptions = field(default_factory=SearchOptions)
    tuned: Tuned = field(default_factory=Tuned)


def load_preset(name: str | Path, *, check_lm: bool = True) -> Preset:
    """Return the paper's preset of this name, or the preset in this file, with its paths made absolute.

    check_lm: whether the language model must be the one that the preset was tuned with.

    Raises UserError for a name or file that does not exist, for a broken file, and, with check_lm, for a language model
    that the preset was not tuned with.
    """
    if str(name) in PAPER_PRESETS:
        return PAPER_PRESETS[str(name)]
    path = Path(name)
    refuse_special(path)
    if not path.is_file():
        close = difflib.get_close_matches(str(name), PAPER_PRESETS, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"names are {', '.join([*PAPER_PRESETS][:4])}, ..."
        raise UserError(f"--preset {name}: no such file or preset; {hint}")
    try:
        preset = load_recipe(path, Preset)
    except UserError as error:
        message = str(error)
        raise UserError(message if str(path) in message else f"{path}: {message}") from error
    folder = path.resolve().parent
    lm, lexicon, rescore = (
        None if part is None else str(folder / part) for part in (preset.lm, preset.lexicon, preset.rescore)
    )
    preset = replace(preset, lm=lm, lexicon=lexicon, rescore=rescore)
    if check_lm and preset.lm is not None and preset.lm_print and fingerprint(preset.lm) != preset.lm_print:
        raise UserError(f"{preset.lm}: {path} was tuned with another language model; give that one, or tune again")
    return preset


def write_preset(preset: Preset, path: str | Path) -> None:
    """Write a file that `load_preset` reads back, completely or not at all. Paths below its folder become relative."""
    folder = Path(path).resolve().parent

    def portable(part: str | None) -> str | None:
        if part is None:
            return None
        whole = Path(os.path.abspath(part))
        return str(whole.relative_to(folder)) if whole.is_relative_to(folder) else str(whole)

    stored = replace(
        preset,
        lm=portable(preset.lm),
        lexicon=portable(preset.lexicon),
        rescore=portable(preset.rescore),
        lm_print="" if preset.lm is None else fingerprint(preset.lm),
    )
    with writing(path) as temporary:
        write_toml(stored, temporary)


def fingerprint(path: str | Path) -> str:
    """Hash the size, the first and the last megabyte of a file, or of every file directly inside a folder.

    Quick even for many gigabytes. Raises UserError for a path that cannot be read.
    """
    digest = hashlib.sha256()
    path = Path(path)
    try:
        for file in sorted(file for file in path.glob("*") if file.is_file()) if path.is_dir() else [path]:
            size = file.stat().st_size
            digest.update(f"{file.name if path.is_dir() else ''}:{size}:".encode())
            with open_input(file) as content:
                digest.update(content.read(_PRINT_BYTES))
                content.seek(max(0, size - _PRINT_BYTES))
                digest.update(content.read(_PRINT_BYTES))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return digest.hexdigest()[:16]


def _paper(weight: float, word_score: float, *, ngram: bool) -> Preset:
    """Return a preset with the beams of the paper's tests (section 4.4); `weight` is as the paper prints it.

    The Transformer guides our own search, which asks it for all hypotheses at once. flashlight would ask for one word
    at a time.
    """
    lm_weight = round(weight / math.log(10), 6) if ngram else weight
    search = SearchOptions(beam=1500 if ngram else 500, lm_weight=lm_weight, word_score=word_score)
    return Preset(decoder="lexicon" if ngram else "beam", search=search)


# (labelled data, (4-gram weight, word score), (Transformer weight, word score)): table 7 for the model pre-trained on
# LibriSpeech, table 8 for the one on LibriVox.
_TABLES = {
    "ls": (
        ("10min", (3.23, -0.26), (1.20, -1.39)),
        ("1h", (2.90, -1.62), (1.15, -2.08)),
        ("10h", (2.46, -0.59), (1.06, -2.32)),
        ("100h", (2.15, -0.52), (0.87, -1.00)),
        ("960h", (1.74, 0.52), (0.92, -0.86)),
    ),
    "lv": (
        ("10min", (3.86, -1.18), (1.47, -2.82)),
        ("1h", (3.09, -2.33), (1.33, -0.69)),
        ("10h", (2.12, -0.90), (0.94, -1.05)),
        ("100h", (2.15, -0.52), (0.87, -1.00)),
        ("960h", (1.57, -0.64), (0.90, -0.31)),
    ),
}

PAPER_PRESETS: dict[str, Preset] = {
    f"paper-{corpus}-{hours}-{kind}": _paper(*numbers, ngram=kind == "4gram")
    for corpus, rows in _TABLES.items()
    for hours, ngram, transformer in rows
    for kind, numbers in (("4gram", ngram), ("transformer", transformer))
}
"""`paper-ls-10min-4gram` to `paper-lv-960h-transformer`; they name no files: give `--lm` (and `--lexicon`)."""
