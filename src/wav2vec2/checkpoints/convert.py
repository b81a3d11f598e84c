"""``wav2vec2 convert MODEL OUT``: convert any readable model to the format of another tool.

Vocabulary, input normalisation, sample rate, dropouts and masking parameters are converted along with the weights. A
model that the format cannot express is refused with the reason, and nothing is left half-written.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from wav2vec2.errors import UserError

if TYPE_CHECKING:
    import torch

    from wav2vec2.checkpoints.checkpoint import Model
    from wav2vec2.text.vocabulary import Vocabulary

Format = Literal["huggingface", "fairseq", "fairseq2", "torchaudio"]
_FILE_NAMES = {"fairseq": "checkpoint.pt", "fairseq2": "model.pt", "torchaudio": "model.pth"}


@dataclass(frozen=True)
class ConvertOptions:
    """Convert a model to the format of another tool."""

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A model directory, a checkpoint of fairseq, fairseq2, omnilingual or torchaudio, or an id on the hub."""
    out: Annotated[Path, Positional, arg(metavar="OUT")]
    """Folder to write into; except for huggingface, it may also be a file name ending in .pt or .pth."""
    to: Format = "huggingface"
    """Tool that is to load the model. A huggingface directory is also this package's own format."""
    vocabulary: str | None = None
    """Symbols of the CTC head, if the model has none or wrong ones: a dict.ltr.txt, a SentencePiece .model, or a folder
    with vocab.json."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Number format of the written weights."""
    input: Literal["stored", "raw", "normalised"] = "stored"
    """Input that the model expects: as stored in its files, or raw or normalised waveforms whatever they say."""
    language: str | None = None
    """Language of a multilingual model (MMS) whose adapter, head and symbols to take, such as eng."""
    revision: str | None = None
    """Branch, tag or commit of a model on the hub."""
    token: str | None = None
    """Access token for a private model on the hub."""
    offline: bool = False
    """Use only the local cache of the hub, without contacting the hub."""


def run(options: ConvertOptions) -> None:
    """Convert a model and print the files written; raises UserError if it cannot be read or expressed."""
    import torch

    from wav2vec2.checkpoints.load import load
    from wav2vec2.model.ctc import Wav2Vec2ForCTC

    dtype = getattr(torch, options.dtype)
    model = load(
        options.model,
        language=options.language,
        dtype=dtype,  # half-precision weights are never widened on the way
        revision=options.revision,
        token=options.token,
        offline=options.offline,
    )
    if options.vocabulary is not None:
        if not isinstance(model, Wav2Vec2ForCTC):
            raise UserError(f"{options.model}: has no CTC head, so --vocabulary has no use; leave it out")
        model.vocabulary = _read_vocabulary(Path(options.vocabulary), options.language)
    if options.input != "stored":
        model.architecture = replace(model.architecture, normalize_input=options.input == "normalised")
    for file in write(model, options.out, options.to, dtype):
        print(file)


def write(model: "Model", out: Path, to: Format, dtype: "torch.dtype | None" = None) -> list[Path]:
    """Write ``model`` in the format ``to``, its weights as ``dtype`` (default float32), and return the files.

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
        from wav2vec2.checkpoints.fairseq.files import save_fairseq as save_file
    elif to == "fairseq2":
        from wav2vec2.checkpoints.fairseq2.files import save_fairseq2 as save_file
    else:
        from wav2vec2.checkpoints.torchaudio import save_torchaudio as save_file
    return save_file(model, path, dtype)


def _read_vocabulary(path: Path, language: str | None) -> "Vocabulary":
    """Read any file or folder that ``--vocabulary`` may name."""
    from wav2vec2.text.vocabulary import Vocabulary

    if not path.exists():
        raise UserError(f"{path}: no such vocabulary; give a dict.ltr.txt, a SentencePiece .model or a model directory")
    if path.is_dir() or path.suffix == ".json":
        return Vocabulary.load(path if path.is_dir() else path.parent, language=language)
    if path.suffix == ".model":
        from wav2vec2.checkpoints.fairseq2.files import vocabulary_of_pieces

        return vocabulary_of_pieces(path)
    from wav2vec2.checkpoints.fairseq.files import read_dictionary

    return read_dictionary(path)
