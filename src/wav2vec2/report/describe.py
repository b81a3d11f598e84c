"""``wav2vec2 info``: describe a model, a manifest or a language model in a few lines, whatever the path holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.errors import UserError

_NAMED = 8


@dataclass(frozen=True)
class InfoOptions:
    """Describe a model, a manifest or a language model: what it is, how large, and what it was made from.

    No weights are read, and of a model on the hub none are downloaded: its files are listed with their sizes.
    """

    what: Annotated[str, Positional, arg(metavar="MODEL|MANIFEST|LM")]
    """A model (the folder of a run or of a model, a file of fairseq, fairseq2 or torchaudio, an id on the hub), a
    manifest, or a language model (ARPA, KenLM, the folder of a Transformer)."""
    language: str | None = None
    """Language of a multilingual model (MMS) whose output layer and symbols to describe, such as eng."""


def run(options: InfoOptions) -> None:
    """Print the description; raises UserError if there is nothing that can be described."""
    lines = _manifest(options.what) or _language_model(options.what)
    if lines is None:
        from wav2vec2.checkpoints.info import model_lines

        lines = model_lines(options.what, options.language)
    for name, value in lines.items():
        print(f"{name:<14}{value}")


def _manifest(what: str) -> dict[str, str] | None:
    path = Path(what)
    inside = path.is_dir() and any(path.glob("manifest*.parquet"))
    if not inside and path.suffix.lower() not in (".parquet", ".arrow"):
        return None
    import pyarrow.compute as pc

    from wav2vec2.data.manifest import Manifest

    manifest = Manifest.open(path)
    hours = float(manifest.samples.sum()) / SAMPLE_RATE / 3600
    texts = manifest.column("text")
    labelled = float(manifest.samples[texts.is_valid().to_numpy()].sum()) / SAMPLE_RATE / 3600
    lines = {
        "manifest": what,
        "utterances": f"{len(manifest):,}, {hours:.2f} h; the longest {manifest.samples.max() / SAMPLE_RATE:.1f} s"
        if len(manifest)
        else "none",
        "transcribed": f"{len(manifest) - texts.null_count:,}, {labelled:.2f} h",
    }
    for name, title in (("split", "splits"), ("language", "languages"), ("source", "sources")):
        counts = sorted(pc.value_counts(manifest.column(name)).to_pylist(), key=lambda one: -one["counts"])
        if shown := [f"{one['values']} ({one['counts']:,})" for one in counts if one["values"]]:
            more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
            lines[title] = ", ".join(shown[:_NAMED]) + more
    speakers = len(set(pc.unique(manifest.column("speaker")).to_pylist()) - {"", None})
    return lines | {"speakers": f"{speakers:,}" if speakers else "not named"}


def _language_model(what: str) -> dict[str, str] | None:
    from wav2vec2.lm.words import is_kenlm_binary, ngram_order, ngram_words

    path = Path(what)
    if path.is_file():
        order = ngram_order(path)
        if order is None:
            return None
        kind = "KenLM binary" if is_kenlm_binary(path) else "ARPA"
        size = f"{path.stat().st_size / 1e6:,.1f} MB"
        try:
            words = f"{len(ngram_words(path)):,} words"
        except UserError as error:
            words = str(error)
        return {"lm": what, "kind": f"{order}-gram of words ({kind}, {size})", "vocabulary": words}
    from wav2vec2.lm.transformer.model_directory import describe_language_model

    for folder in (path, path / "model"):
        if (lines := describe_language_model(folder)) is not None:
            return {"lm": what} | lines
    return None
