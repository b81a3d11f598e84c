"""An opened checkpoint in our terms, whatever its format, and the model that is built from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wav2vec2.checkpoints.names import matches
from wav2vec2.checkpoints.tensors.table import TensorTable
from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.encoder import Wav2Vec2Encoder
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import Vocabulary

Model = Wav2Vec2ForPretraining | Wav2Vec2ForCTC | Wav2Vec2Encoder
Kind = Literal["pretraining", "ctc", "encoder"]
FileFormat = Literal["model directory", "fairseq checkpoint", "fairseq2 checkpoint", "torchaudio state dict"]


@dataclass(frozen=True)
class Checkpoint:
    """What a file or directory holds; no weight of it has been read.

    ``names`` translates ours into those of ``tensors``. ``vocabulary_size`` is that of the head, None without one.
    ``ignored`` are patterns of tensors that may be left over, ``optional`` gives values for ours that may be missing.
    """

    path: Path
    file_format: FileFormat
    kind: Kind
    architecture: Architecture
    regularization: Regularization
    masking: Masking
    tensors: Callable[[], TensorTable]
    names: Callable[[str], str]
    vocabulary: Vocabulary | None = None
    vocabulary_size: int | None = None
    blank: int = 0
    ignored: tuple[str, ...] = ()
    optional: Mapping[str, Tensor] = field(default_factory=dict)
    origin: str = ""
    training: str = ""

    def build(self) -> Model:
        """Return a model of this kind and these sizes with weights as at the start of training."""
        a, r, m = self.architecture, self.regularization, self.masking
        if self.kind == "pretraining":
            return Wav2Vec2ForPretraining(a, r, m)
        if self.kind == "encoder":
            return Wav2Vec2Encoder(a, r, m)
        assert self.vocabulary_size is not None
        return Wav2Vec2ForCTC(a, self.vocabulary or self.vocabulary_size, r, m, blank=self.blank)

    def parameters(self) -> int:
        """Number of parameters, from the sizes alone."""
        check_plausible(self.architecture, self.path)
        return sum(parameter.numel() for parameter in self.skeleton().parameters())

    def skeleton(self) -> Model:
        """Return the model without memory for its weights, and without drawing them."""
        with torch.device("meta"), _NothingDrawn():
            return self.build()


_DRAWING = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.zero_, torch.Tensor.fill_)


class _NothingDrawn(TorchFunctionMode):
    """Skips random initialisation: on the meta device it does nothing, after importing half of torch's compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if func in _DRAWING or getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else named["tensor"]
        if func is torch.Tensor.norm and named.get("keepdim"):
            return torch.empty([1 if place in named["dim"] else size for place, size in enumerate(args[0].shape)])
        return func(*args, **named)


_MOST = {"layers": 1000, "hidden_size": 1 << 16, "ffn_size": 1 << 18, "pos_conv_kernel": 1 << 14, "pos_conv_depth": 100}


def check_plausible(architecture: Architecture, path: Path) -> None:
    """Refuse sizes far beyond any model before objects are made for each layer; raises UserError."""
    sizes = {name: getattr(architecture, name) for name in _MOST} | {"convolutions": len(architecture.conv_channels)}
    for name, most in (_MOST | {"convolutions": 100}).items():
        size = sizes[name]
        if size > most:
            raise UserError(f"{path}: {name} = {size} is larger than any model's; the file is damaged")


def build_model(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> Model:
    """Return the model with its weights as ``dtype`` on the CPU, in evaluation mode; nothing is missing or left over.

    Memory: the model, and one tensor or one open shard beside it.

    Raises:
        UserError: A tensor is missing, has another shape, is not finite, or is not expected; the message names it and
            the file.
    """
    check_plausible(checkpoint.architecture, checkpoint.path)
    model = checkpoint.skeleton()
    table = checkpoint.tensors()
    homes = _checked_names(model, checkpoint, table)
    order = {name: place for place, name in enumerate(table.shapes)}
    state: dict[str, Tensor] = {}
    try:
        for name, home in sorted(homes.items(), key=lambda pair: order.get(pair[1], -1)):
            value = table.read(home) if home in table.shapes else checkpoint.optional[name]
            state[name] = value.to(dtype).contiguous()
            if not (value.is_meta or state[name].sum(dtype=torch.float64).isfinite()):
                raise UserError(
                    f"{checkpoint.path}: tensor {home} holds numbers that are not finite; give the model of a sound run"
                )
    finally:
        table.close()
    model.load_state_dict(state, assign=True)
    return model.eval()


def _checked_names(model: nn.Module, checkpoint: Checkpoint, table: TensorTable) -> dict[str, str]:
    """Return our name -> their name of every parameter, after all shapes were compared."""
    path, homes = checkpoint.path, {}
    for name, expected in model.state_dict().items():
        home = checkpoint.names(name)
        homes[name] = home
        if home not in table.shapes:
            if name in checkpoint.optional:
                continue
            raise UserError(f"{path}: tensor {home} is missing; give the complete file with its own configuration")
        found = table.shapes[home].shape
        if found != expected.shape:
            raise UserError(
                f"{path}: tensor {home} has shape {list(found)}, its configuration says {list(expected.shape)}"
            )
    used = set(homes.values())
    unexpected = [name for name in table.shapes if name not in used and not matches(name, checkpoint.ignored)]
    if unexpected:
        more = f" and {len(unexpected) - 1} more" if len(unexpected) > 1 else ""
        raise UserError(
            f"{path}: unexpected tensor {unexpected[0]}{more}; its configuration belongs to another kind of model"
        )
    return homes
