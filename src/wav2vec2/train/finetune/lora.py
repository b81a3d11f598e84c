"""LoRA by the package peft: beside every matrix of the Transformer blocks the product of two narrow ones is trained.

The product starts at zero, so that training starts from the model as it is. When a model is written, the products are
added to the matrices, so that any tool loads it; the folder ``lora`` beside it has them in peft's own format, for
transformers' model of the encoder that training started from.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

from wav2vec2.checkpoints.huggingface.directory import save
from wav2vec2.checkpoints.names import huggingface_name
from wav2vec2.errors import UserError, cause
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.output_file import writing_together

if TYPE_CHECKING:
    from peft.tuners.lora import Linear

FOLDER = "lora"
_NAME = "default"
_OURS = r".*context\.layers\.\d+\.(attention\.(query|key|value|out)|ffn_in|ffn_out)"
_THEIRS = ("q_proj", "k_proj", "v_proj", "out_proj", "intermediate_dense", "output_dense")


def insert(model: Wav2Vec2ForCTC, rank: int, alpha: float) -> None:
    """Put the products into a model, in place; they and the output layer alone get gradients.

    Raises:
        UserError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError(f"tune.what = lora: needs peft ({cause(error)}): pip install 'wav2vec2[lora]'") from None
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=_OURS)  # type: ignore[arg-type]
    inject_adapter_in_model(config, model, _NAME)
    for layer in _layers(model).values():
        layer.cast_input_dtype_enabled = False  # autocast converts what a product needs; peft would keep a copy
    model.head.requires_grad_(True)


def _layers(model: Wav2Vec2ForCTC) -> "dict[str, Linear]":
    """The layers with a product, by name."""
    from peft.tuners.lora import Linear

    return {name: module for name, module in model.named_modules() if isinstance(module, Linear)}


@torch.no_grad()
def merged(model: Wav2Vec2ForCTC) -> Wav2Vec2ForCTC:
    """A model of the usual layers whose matrices have the products added; the given one stays as it is."""
    layers = _layers(model)
    weights = {
        name.replace(".base_layer.", "."): value.cpu()
        for name, value in model.state_dict().items()
        if ".lora_" not in name
    }
    for name, layer in layers.items():
        weights[f"{name}.weight"] = (
            layer.get_base_layer().get_parameter("weight") + layer.get_delta_weight(_NAME)
        ).cpu()
    size = model.vocabulary or model.head.out_features
    with torch.device("meta"):
        whole = Wav2Vec2ForCTC(model.architecture, size, model.regularization, model.masking, blank=model.blank)
    whole.longest_heard, whole.language = model.longest_heard, model.language
    whole.load_state_dict(weights, assign=True)
    return whole.train(model.training)


def export(model: Wav2Vec2ForCTC, directory: Path, base: str) -> None:
    """Write the merged model as a model directory, and the products beside it, to be added to the model ``base``.

    Raises:
        UserError: the directory cannot be written.
    """
    save(merged(model), directory)
    from peft import LoraConfig

    layers = _layers(model)
    tensors: dict[str, Tensor] = {}
    for name, layer in layers.items():
        theirs = huggingface_name(f"{name}.weight").removesuffix(".weight")
        tensors[f"{theirs}.lora_A.weight"] = layer.lora_A[_NAME].get_parameter("weight")
        tensors[f"{theirs}.lora_B.weight"] = layer.lora_B[_NAME].get_parameter("weight")
    tensors |= {huggingface_name(f"head.{name}"): value for name, value in model.head.named_parameters()}
    first = next(iter(layers.values()))
    config = LoraConfig(
        r=first.r[_NAME],
        lora_alpha=first.lora_alpha[_NAME],
        target_modules=list(_THEIRS),
        modules_to_save=["lm_head"],
        base_model_name_or_path=base,
        inference_mode=True,
    )
    with writing_together(directory / FOLDER) as folder:
        plain = {f"base_model.model.{n}": v.detach().to("cpu", torch.float32).contiguous() for n, v in tensors.items()}
        save_file(plain, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(str(folder))
