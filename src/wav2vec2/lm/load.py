"""Any language model from its path: what it is shows in the file."""

from pathlib import Path

from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.lm.words import is_kenlm_binary


def load_language_model(path: str | Path) -> LanguageModel:
    """Open an ARPA file (plain or gzipped), a KenLM binary, or the directory of a Transformer language model.

    Raises:
        UserError: nothing there, or what is there is none of the three or damaged.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"{path}: has no config.json; give the directory that wav2vec2 lm transformer wrote")
        from wav2vec2.lm.transformer.model import TransformerLM

        return TransformerLM.load(path)
    if is_kenlm_binary(path):
        from wav2vec2.lm.ngram.kenlm_file import KenlmFile

        return KenlmFile(path)
    from wav2vec2.lm.ngram.model import NgramModel

    return NgramModel.load(path)
