"""An opened checkpoint of any format, described in our terms, and the model built from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wav2vec2.checkpoints.names import matches
from wav2vec2.checkpoints.tensors.table import TensorTable
from wav2vec2.config import options
from wav2vec2.errors import UserError, quoted, shortened
from wav2vec2.input_file import check_numbers
from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.encoder import Wav2Vec2Encoder
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.model.variants.pretraining import pretraining_model
from wav2vec2.text.vocabulary import Vocabulary

Model = Wav2Vec2ForPretraining | Wav2Vec2ForCTC | Wav2Vec2Encoder
Kind = Literal["pretraining", "ctc", "encoder"]
FileFormat = Literal["model directory", "fairseq checkpoint", "fairseq2 checkpoint", "torchaudio state dict"]

_LARGEST_SPAN = 1 << 16
_LARGEST_VOCABULARY = 1 << 22


@dataclass(frozen=True)
class Checkpoint:
    """A model in a file or directory, described without reading a weight.

    path: the file that messages name. tensors: opens the table of weights. names: gives the table's name of one of our
    parameters, None if the format lacks it. vocabulary_size: rows of the CTC head, None without a head. blank: row of
    the blank, used if no vocabulary is stored. longest_heard, language: see `Wav2Vec2ForCTC`. ignored: patterns of
    tensors that may be present without being used. optional: values, under our names, for parameters that may be
    missing. head: in words, what an encoder's file holds besides it and is not read; empty if nothing. origin: the tool
    that wrote the model. training: how long it was trained. These three are text to be printed, empty where unknown.
    """

    path: Path
    file_format: FileFormat
    kind: Kind
    architecture: Architecture
    regularization: Regularization
    masking: Masking
    tensors: Callable[[], TensorTable]
    names: Callable[[str], str | None]
    vocabulary: Vocabulary | None = None
    vocabulary_size: int | None = None
    blank: int = 0
    longest_heard: float | None = None
    language: str | None = None
    ignored: tuple[str, ...] = ()
    optional: Mapping[str, Tensor] = field(default_factory=dict)
    head: str = ""
    origin: str = ""
    training: str = ""

    def __post_init__(self) -> None:
        """Raise UserError for values with which no model is built."""
        for settings in (self.regularization, self.masking):
            try:
                check_numbers(settings, {}, _LARGEST_SPAN)
            except ValueError as error:
                raise UserError(f"{self.path}: {error}; the file is damaged") from None
            for key, value, rules in options(settings):
                if rules.range is not None and value not in rules.range:
                    raise UserError(f"{self.path}: {key} is {quoted(value)}, not {rules.range}; the file is damaged")
        if self.vocabulary_size is not None and not 0 < self.vocabulary_size <= _LARGEST_VOCABULARY:
            raise UserError(f"{self.path}: {quoted(self.vocabulary_size)} symbols; the file is damaged")
        if self.vocabulary_size is not None and not 0 <= self.blank < self.vocabulary_size:
            raise UserError(f"{self.path}: the blank is symbol {quoted(self.blank)} of {self.vocabulary_size}")

    def parameters(self) -> int:
        """Return the number of parameters, computed from the sizes alone."""
        return sum(parameter.numel() for parameter in self.skeleton().parameters())

    def skeleton(self) -> Model:
        """Return the model on the meta device, without memory for its weights."""
        a, r, m = self.architecture, self.regularization, self.masking
        with torch.device("meta"), _NothingDrawn():
            if self.kind == "pretraining":
                return pretraining_model(a, r, m)
            if self.kind == "encoder":
                return Wav2Vec2Encoder(a, r, m)
            assert self.vocabulary_size is not None
            model = Wav2Vec2ForCTC(a, self.vocabulary or self.vocabulary_size, r, m, blank=self.blank)
            model.longest_heard, model.language = self.longest_heard, self.language
            return model


def mask_share(start: float, span: int) -> float:
    """Return the mask probability as other tools define it: the paper's p times the length of a span.

    Digits beyond the twelfth are dropped here and in ``mask_start``, so that 0.065 comes back as 0.065.
    """
    return float(f"{start * span:.12g}")


def mask_start(share: float, span: int) -> float:
    """Return the paper's p, given another tool's mask probability."""
    return float(f"{share / span:.12g}")


_DRAWING = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.zero_, torch.Tensor.fill_)


class _NothingDrawn(TorchFunctionMode):
    """Skips random initialisation, which on the meta device has no effect but to import half of torch's compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if func in _DRAWING or getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else named["tensor"]
        if func is torch.Tensor.norm and named.get("keepdim"):
            return torch.empty([1 if place in named["dim"] else size for place, size in enumerate(args[0].shape)])
        return func(*args, **named)


def build_model(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> Model:
    """Return the model with its weights as ``dtype`` on the CPU, in evaluation mode.

    Every parameter is found in the file, and every tensor of the file is either used or known to be unused. Memory: the
    model, and one tensor or one open shard beside it.

    Raises:
        UserError: A tensor is missing, unexpected, of another shape or not finite; the message names it and the file.
    """
    model = checkpoint.skeleton()
    table = checkpoint.tensors()
    names = _checked_names(model, checkpoint, table)
    order = {name: place for place, name in enumerate(table.shapes)}
    state: dict[str, Tensor] = {}
    try:
        for ours, theirs in sorted(names.items(), key=lambda pair: order.get(pair[1] or "", -1)):
            value = checkpoint.optional[ours] if theirs is None else table.read(theirs)
            state[ours] = value.to(dtype).contiguous()
            if not (value.is_meta or state[ours].sum(dtype=torch.float64).isfinite()):
                raise UserError(
                    f"{checkpoint.path}: tensor {theirs} holds values that are not finite; the run that wrote it "
                    "diverged, so use an earlier checkpoint"
                )
    finally:
        table.close()
    model.load_state_dict(state, assign=True)
    return model.eval()


def _checked_names(model: nn.Module, checkpoint: Checkpoint, table: TensorTable) -> dict[str, str | None]:
    """Return the table's name of every parameter, None where its optional value is taken, having checked all shapes."""
    path = checkpoint.path
    names: dict[str, str | None] = {}
    for ours, expected in model.state_dict().items():
        theirs = checkpoint.names(ours)
        if theirs is None or theirs not in table.shapes:
            if ours not in checkpoint.optional:
                raise UserError(
                    f"{path}: tensor {shortened(theirs or ours)} is missing; give the complete file with its own "
                    "configuration"
                )
            names[ours] = None
            continue
        names[ours] = theirs
        found = table.shapes[theirs].shape
        if found != expected.shape:
            raise UserError(
                f"{path}: tensor {theirs} has shape {quoted(list(found))} instead of {list(expected.shape)}; give it "
                "its own configuration"
            )
    used = set(names.values())
    unexpected = [name for name in table.shapes if name not in used and not matches(name, checkpoint.ignored)]
    if unexpected:
        more = f" and {len(unexpected) - 1} more" if len(unexpected) > 1 else ""
        raise UserError(
            f"{path}: unexpected tensor {shortened(unexpected[0])}{more}; its configuration belongs to another kind of "
            "model"
        )
    return names
