"""How a model is trained on several processes: torch's DistributedDataParallel or FSDP2 (`fully_shard`).

Every loss is divided by counts over the whole global batch, so gradients are summed over processes, never averaged.
A process may leave parameters without a gradient (LayerDrop, a frozen phase): their sum is that of the others.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from wav2vec2.errors import UserError
from wav2vec2.model.cpu.dropout import DropoutKeys
from wav2vec2.model.cpu.half import half_products, in_half
from wav2vec2.model.encoder import SharedEncoder
from wav2vec2.model.feature_encoder import FeatureEncoder
from wav2vec2.model.layout import Layout
from wav2vec2.model.transformer import TransformerLayer
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.options import ParallelConfig

Backend = str | Callable[..., Any]


class Engine:
    """The module to call in place of a model, and what training asks of it.

    Args:
        model: on its device. With the strategy fsdp its parameters become DTensors, each process holding a part.
        config: the strategy.
        ranks: this process.
        half: the type that blocks compute in, where FSDP casts their weights; None leaves them as they are.
        wrap: turns the model into the module that is called (for tests); None calls the model itself.
        backend: of torch.compile, by which blocks are compiled one by one; None compiles nothing.

    Raises:
        UserError: there are several processes and no strategy.
    """

    def __init__(
        self,
        model: nn.Module,
        config: ParallelConfig,
        ranks: Ranks,
        half: torch.dtype | None = None,
        wrap: Callable[[nn.Module], nn.Module] | None = None,
        backend: Backend | None = None,
    ) -> None:
        if ranks.world > 1 and config.strategy == "none":
            raise UserError(
                f"parallel.strategy is none, but there are {ranks.world} processes: give ddp, or fsdp for models that "
                "do not fit into one device"
            )
        self.model, self._ranks = model, ranks
        self._outline: nn.Module | None = None
        self._engine: DistributedDataParallel | FSDPModule | None = None
        if ranks.world > 1 and config.strategy == "fsdp":
            self._outline = _outline(model)
        if config.recompute:
            for block in blocks(model):
                block.forward = recomputed(block.forward)  # type: ignore[method-assign,assignment]
        self._compiled = backend is not None
        if backend is not None:
            _compile_blocks(model, backend)
        self.module = model if wrap is None else wrap(model)
        if ranks.world == 1:
            return
        if config.strategy == "fsdp":
            self._engine = _sharded(model, half)
        else:
            self._engine = DistributedDataParallel(self.module, gradient_as_bucket_view=True)
            self._engine.register_comm_hook(None, _sum_bucket)
            self.module = self._engine

    @contextmanager
    def accumulating(self, last: bool) -> Iterator[None]:
        """A micro-batch's forward and backward pass: gradients are exchanged in the ``last`` one only."""
        if isinstance(self._engine, FSDPModule):
            self._engine.set_requires_gradient_sync(last)
            yield
        elif self._engine is not None and not last:
            with self._engine.no_sync():
                yield
        else:
            yield

    def shapes(self, static: bool) -> AbstractContextManager[object]:
        """Forward passes of ``static`` shapes use compiled blocks; others, such as validation, do not compile anew."""
        return nullcontext() if static or not self._compiled else torch.compiler.set_stance("force_eager")

    def joined(self, loss: Tensor) -> Tensor:
        """The loss, with every parameter in its graph: DDP waits until each has been seen, even without gradient."""
        if not isinstance(self._engine, DistributedDataParallel):
            return loss
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        result: Tensor = _Joined.apply(loss, *parameters)  # type: ignore[no-untyped-call]
        return result

    def whole(self) -> nn.Module | None:
        """The model with all its parameters, to be written to disk; None except on the main process.

        All processes call this together. With FSDP it is a copy in the memory of the main process's machine.
        """
        if self._outline is None:
            return self.model if self._ranks.is_main else None
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state = get_model_state_dict(self.model, options=options)
        if not self._ranks.is_main:
            return None
        model = copy.deepcopy(self._outline)
        model.load_state_dict(state, assign=True)
        return model


def blocks(model: nn.Module) -> list[TransformerLayer]:
    """The Transformer blocks of a model, in order."""
    return [module for module in model.modules() if isinstance(module, TransformerLayer)]


def _compile_blocks(model: nn.Module, backend: Backend) -> None:
    """Compile every block for each shape that it meets; all blocks of a model share what is compiled."""
    if isinstance(model, SharedEncoder):
        model.encoder.packed = False
    for block in blocks(model):
        block.compile(fullgraph=True, dynamic=False, backend=backend)


def _sharded(model: nn.Module, half: torch.dtype | None) -> FSDPModule:
    """Shard each block, the feature encoder, and the rest.

    Only blocks compute with weights in half precision: codebooks, norms and the first convolutions need their digits.
    """
    policy = MixedPrecisionPolicy(
        param_dtype=half, reduce_dtype=torch.float32 if half else None, cast_forward_inputs=False
    )
    for block in blocks(model):
        fully_shard(block, mp_policy=policy)
    for module in model.modules():
        if isinstance(module, FeatureEncoder):
            fully_shard(module)
    root: FSDPModule = fully_shard(model)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
    return root


def _sum_bucket(_: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # type: ignore[name-defined]
    """Sum a bucket of gradients over processes, where DDP by itself would average it."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    assert work is not None
    return work.get_future().then(lambda done: done.value()[0])  # type: ignore[no-any-return]


class _Joined(torch.autograd.Function):
    """Identity of the loss that depends on parameters without giving them a gradient."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, *parameters: Tensor) -> Tensor:
        ctx.parameters = len(parameters)
        return loss.view_as(loss)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return grads[0], *[None] * ctx.parameters


def _outline(model: nn.Module) -> nn.Module:
    """A copy of the model without the memory of its parameters."""
    known = {id(p): nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in model.parameters()}
    return copy.deepcopy(model, known)


BlockForward = Callable[[Tensor, Layout, DropoutKeys | None], Tensor]


def recomputed(forward: BlockForward) -> BlockForward:
    """A block's forward pass that keeps its input alone, and is computed again in the backward pass."""

    def run(x: Tensor, layout: Layout, keys: DropoutKeys | None) -> Tensor:
        place = None if keys is None else keys.place
        imitated = not torch.compiler.is_compiling() and in_half()

        def again(x: Tensor) -> Tensor:
            if keys is not None and place is not None:
                keys.place = place  # the same dropout masks in both passes
            with half_products() if imitated else nullcontext():  # autocast alone is restored by torch
                return forward(x, layout, keys)

        result: Tensor = checkpoint(again, x, use_reentrant=False)
        return result

    return run
