"""Small models in the layouts of published repositories: names of files, configuration, symbols, licence.

Where the layouts come from:

- facebook/wav2vec2-base-960h: weights as safetensors and as ``pytorch_model.bin``, Apache 2.0, the files of a tokenizer
- facebook/wav2vec2-xls-r-300m: ``pytorch_model.bin`` alone, weight norm in torch's older spelling, Apache 2.0
- facebook/mms-1b-all: ``adapter.LANG.safetensors`` and ``adapter.LANG.bin`` (transformers' names, `modeling_wav2vec2`;
  the commits of the repository show both), a ``vocab.json`` of tables by language, ``adapter_attn_dim``, CC BY-NC 4.0
- facebook/omniASR-CTC-300M: fairseq2's checkpoint ``omniASR-CTC-300M.pt``, as the asset cards of
  facebookresearch/omnilingual-asr name it; that the hub's repository has this file, and a SentencePiece model beside
  it, is assumed. ``model.yaml`` is there because no width of a published model tells the sizes of a small one

Lists of files and licences that a hub shows only online are as remembered; what is read of them here is the listing.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tests.small_models import GROUP, LAYER, recognizer
from torch import Tensor

import wav2vec2
from wav2vec2.checkpoints.checkpoint import Model
from wav2vec2.checkpoints.convert import ConvertOptions
from wav2vec2.checkpoints.convert import run as convert
from wav2vec2.checkpoints.names import old_weight_norm
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import Vocabulary

LIBRISPEECH = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"))
ADAPTER = 16
LANGUAGES = {
    "eng": "abcdefghijklmnopqrstuvwxyz'",
    "swh": "abcdefghijklmnopqrstuvwxyz",
    "hin": "कखगघचछजझटठडढणतथदधनपफबभमयरलव",
}
"""Languages of a small MMS and the letters of each."""
_ADAPTED = ("adapter_layer.", "lm_head.")


def base_960h(folder: Path, model: Model | None = None) -> Path:
    """The layout of facebook/wav2vec2-base-960h."""
    wav2vec2.save(model or recognizer(GROUP, LIBRISPEECH), folder)
    _old_weights(folder)
    return _with_card(folder, "apache-2.0", "en")


def xls_r_300m(folder: Path, model: Model | None = None) -> Path:
    """The layout of facebook/wav2vec2-xls-r-300m: an encoder with its pre-training head."""
    torch.manual_seed(0)
    wav2vec2.save(model or Wav2Vec2ForPretraining(LAYER), folder)
    _old_weights(folder)
    (folder / "model.safetensors").unlink()
    return _with_card(folder, "apache-2.0", "multilingual")


def mms_1b_all(
    folder: Path, languages: Mapping[str, str] = LANGUAGES, model: Wav2Vec2ForCTC | None = None, default: str = "eng"
) -> Path:
    """The layout of facebook/mms-1b-all: one encoder; for each language an adapter with its head and symbols.

    model: the recogniser of the default language, with adapters of width `ADAPTER`.
    """
    tables = {code: ("<pad>", "<s>", "</s>", "<unk>", "|", *letters) for code, letters in languages.items()}
    model = model or recognizer(replace(LAYER, adapter_size=ADAPTER), Vocabulary(tables[default]))
    wav2vec2.save(model, folder)
    tensors = load_file(folder / "model.safetensors")
    adapted = {name: value for name, value in tensors.items() if any(part in name for part in _ADAPTED)}
    for seed, (code, symbols) in enumerate(tables.items()):
        own = adapted if code == default else _another_language(adapted, len(symbols), seed)
        save_file(own, folder / f"adapter.{code}.safetensors", metadata={"format": "pt"})
        torch.save(own, folder / f"adapter.{code}.bin")
    numbered = {code: {symbol: index for index, symbol in enumerate(symbols)} for code, symbols in tables.items()}
    (folder / "vocab.json").write_text(json.dumps(numbered, ensure_ascii=False), encoding="utf-8")
    tokenizer = _json(folder / "tokenizer_config.json")
    (folder / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "target_lang": default}), encoding="utf-8")
    _old_weights(folder)
    return _with_card(folder, "cc-by-nc-4.0", "multilingual")


def omnilingual_ctc(folder: Path, model: Model | None = None) -> Path:
    """The layout of omnilingual's CTC models: one file of fairseq2's and its SentencePiece model."""
    torch.manual_seed(0)
    made = folder.parent / f"{folder.name}-made"
    wav2vec2.save(model or recognizer(LAYER, Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", *"abcdef"))), made)
    folder.mkdir(parents=True)
    convert(ConvertOptions(str(made), folder / "omniASR-CTC-300M.pt", to="fairseq2"))
    return _with_card(folder, "apache-2.0", "multilingual")


def _another_language(tensors: Mapping[str, Tensor], rows: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed + 1)

    def drawn(name: str, value: Tensor) -> Tensor:
        shape = (rows, *value.shape[1:]) if name.startswith("lm_head.") else value.shape
        return torch.randn(shape, generator=generator) * 0.2

    return {name: drawn(name, value) for name, value in tensors.items()}


def _old_weights(folder: Path) -> None:
    """Write ``pytorch_model.bin`` as files of 2021 to 2023 are: a pickle, with weight norm in its older spelling."""
    tensors = load_file(folder / "model.safetensors")
    torch.save({old_weight_norm(name): value for name, value in tensors.items()}, folder / "pytorch_model.bin")


def _with_card(folder: Path, licence: str, language: str) -> Path:
    card = f"---\nlanguage: {language}\nlicense: {licence}\n---\n\n# A small model in the layout of a published one\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n", encoding="utf-8")
    return folder


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
