"""``wav2vec2 convert MODEL OUT``: any readable model into the format of another tool, with all that belongs to it.

Vocabulary, normalisation of the input, sample rate, dropouts and masking parameters travel along. What a format cannot
express is refused with the reason; nothing is left half-written.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wav2vec2.errors import UserError

if TYPE_CHECKING:
    import torch

    from wav2vec2.checkpoints.checkpoint import Model
    from wav2vec2.text.vocabulary import Vocabulary

Format = Literal["huggingface", "fairseq", "fairseq2", "torchaudio"]
_FILE_NAMES = {"fairseq": "checkpoint.pt", "fairseq2": "model.pt", "torchaudio": "model.pth"}


@dataclass(frozen=True)
class ConvertOptions:
    """Write a model in the format of another tool."""

    model: str
    """A model directory, a checkpoint of fairseq, fairseq2, omnilingual or torchaudio, or an id on the hub."""
    out: Path
    """The folder to write into; for a format of files also a file name that ends in .pt or .pth."""
    to: Format = "huggingface"
    """The tool that is to load it; a huggingface directory is what this package itself keeps."""
    vocabulary: str | None = None
    """Symbols of the CTC head: a fairseq dict.ltr.txt, a SentencePiece .model, or a folder with vocab.json."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Number format of the written weights."""
    input: Literal["stored", "raw", "normalised"] = "stored"
    """Whether waveforms are normalised before the model; overrides what the files say."""
    language: str | None = None
    """Of a multilingual model (MMS): the language whose adapter, head and symbols to take, such as eng."""
    revision: str | None = None
    """Branch, tag or commit of a model on the hub."""
    token: str | None = None
    """Access token for a private model on the hub."""
    offline: bool = False
    """Do not ask the hub: its cache has to hold the model."""


def run(options: ConvertOptions) -> None:
    """Convert and say what was written; raises UserError when the model cannot be read or expressed."""
    import torch

    from wav2vec2.checkpoints.load import load, locate
    from wav2vec2.model.ctc import Wav2Vec2ForCTC

    dtype = getattr(torch, options.dtype)
    path = locate(
        options.model,
        language=options.language,
        revision=options.revision,
        token=options.token,
        offline=options.offline,
    )
    # half-precision weights are never widened on the way
    model = load(path, language=options.language, dtype=dtype)
    if options.vocabulary is not None:
        if not isinstance(model, Wav2Vec2ForCTC):
            raise UserError(f"{options.model}: has no CTC head, so it cannot take --vocabulary")
        model.vocabulary = _read_vocabulary(Path(options.vocabulary), options.language)
    if options.input != "stored":
        model.architecture = replace(model.architecture, normalize_input=options.input == "normalised")
    for file in write(model, options.out, options.to, dtype):
        print(file)


def write(model: "Model", out: Path, to: Format, dtype: "torch.dtype | None" = None) -> list[Path]:
    """Write ``model`` in the format ``to`` and return the files; ``dtype`` of the weights is float32 by default.

    Raises:
        UserError: The format cannot express the model, or the files cannot be written.
    """
    import torch

    dtype = dtype or torch.float32
    if to == "huggingface":
        from wav2vec2.checkpoints.huggingface.directory import save

        save(model, out, dtype)
        return sorted(path for path in out.iterdir() if path.is_file())
    path = out if out.suffix in (".pt", ".pth") else out / _FILE_NAMES[to]
    if to == "fairseq":
        from wav2vec2.checkpoints.fairseq.write import save_fairseq as save_file
    elif to == "fairseq2":
        from wav2vec2.checkpoints.fairseq2.files import save_fairseq2 as save_file
    else:
        from wav2vec2.checkpoints.torchaudio.files import save_torchaudio as save_file
    return save_file(model, path, dtype)


def _read_vocabulary(path: Path, language: str | None) -> "Vocabulary":
    """The table that ``--vocabulary`` names, in any of its forms."""
    from wav2vec2.text.vocabulary import Vocabulary

    if not path.exists():
        raise UserError(f"{path}: no such vocabulary; give a dict.ltr.txt, a SentencePiece .model or a model directory")
    if path.is_dir() or path.suffix == ".json":
        return Vocabulary.load(path if path.is_dir() else path.parent, language=language)
    if path.suffix == ".model":
        from wav2vec2.checkpoints.fairseq2.files import vocabulary_of_pieces

        return vocabulary_of_pieces(path)
    return Vocabulary.from_fairseq_dict(path)
