"""The adapters of one language of a multilingual model (MMS), as transformers keeps them: a file for each language.

``adapter.LANGUAGE.safetensors`` holds the adapters of all layers and the output layer, under the names that they have
in the model. ``vocab.json`` then has a table of symbols for each language.
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from wav2vec2.checkpoints.huggingface.weights import tensor_table
from wav2vec2.checkpoints.languages import no_such_language
from wav2vec2.checkpoints.tensors.table import TensorTable
from wav2vec2.config import read_json
from wav2vec2.errors import UserError

HEAD = "lm_head.weight"
_PART = ".adapter_layer."


def language_table(directory: Path, language: str) -> TensorTable:
    """Open the adapters and the output layer of a language. Raises UserError if they are not there or damaged."""
    for suffix in ("safetensors", "bin"):
        path = directory / f"adapter.{language}.{suffix}"
        if path.is_file():
            table = tensor_table([path])
            if HEAD not in table.shapes or table.shapes[HEAD].dim() != 2:
                raise UserError(f"{path}: tensor {HEAD} is missing; fetch or copy the file again")
            return table
    known = {path.name.removeprefix("adapter.").rpartition(".")[0] for path in directory.glob("adapter.*.*")}
    raise UserError(f"{directory}: {no_such_language(language, known)}")


def stored_language(directory: Path) -> str | None:
    """Return the language whose adapters a directory's own weights are, as its tokenizer says; None if nothing does."""
    path = directory / "tokenizer_config.json"
    language = read_json(path).get("target_lang") if path.exists() else None
    return (
        language if isinstance(language, str) and 0 < len(language) < 100 and Path(language).name == language else None
    )


def adapter_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return those of a model's tensors, under transformers' names, that belong to its language."""
    return {name: value for name, value in tensors.items() if _PART in name or name.startswith("lm_head.")}


def write_adapter(tensors: Mapping[str, Tensor], language: str, folder: Path) -> None:
    """Write the tensors of a language into a folder."""
    save_file(dict(tensors), folder / f"adapter.{language}.safetensors", metadata={"format": "pt"})
