"""Matrix products in bfloat16 for eager CPU, everything else in float32.

Within ``half_products`` the operands of the large products are rounded to bfloat16, sums are float32, and the result is
rounded once more: what a GPU does under autocast. Processors with AVX512_BF16 or AMX have instructions for it. On any
other, PyTorch's own product of bfloat16 matrices takes fifteen times as long as that of float32 ones; there the rounded
operands are multiplied in float32, which gives the same numbers, and a step takes 1.4 times as long as in float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

_HALF = ContextVar("half", default=False)


@contextmanager
def half_products(used: bool = True) -> Iterator[None]:
    """Context of forward passes; backward passes follow by themselves."""
    token = _HALF.set(used)
    try:
        yield
    finally:
        _HALF.reset(token)


def asked_for() -> bool:
    """Whether autocast to bfloat16 is on: the packed kernels take it as their order, with ``in_place_of_autocast``."""
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


@contextmanager
def in_place_of_autocast() -> Iterator[None]:
    """Context in which products of the packed kernels are computed in bfloat16, and nothing else."""
    with torch.autocast("cpu", enabled=False), half_products():
        yield


def in_half() -> bool:
    """Whether products are to be computed in bfloat16 here."""
    return _HALF.get()


@cache
def native() -> bool:
    """Whether this processor has instructions for products in bfloat16."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def multiply(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """Product of two matrices, or of two batches of matrices, written into ``out`` if that is given."""
    if not _HALF.get() or a.dtype != torch.float32:
        return torch.matmul(a, b) if out is None else torch.matmul(a, b, out=out)
    half = _rounded_product(a, b)
    return half.float() if out is None else out.copy_(half)


def add_product(target: Tensor, a: Tensor, b: Tensor) -> None:
    """Add the product of two matrices to ``target``, whose sum stays in its own type."""
    if not _HALF.get() or a.dtype != torch.float32:
        target.addmm_(a, b)
    else:
        target.add_(_rounded_product(a, b))


def _rounded_product(a: Tensor, b: Tensor) -> Tensor:
    a, b = a.bfloat16(), b.bfloat16()
    return torch.matmul(a, b) if native() else torch.matmul(a.float(), b.float()).bfloat16()


def linear(module: nn.Linear, x: Tensor) -> Tensor:
    """What a linear layer gives for packed frames (N, d). One with a low-rank product beside it stays in float32."""
    if not _HALF.get() or not isinstance(module, nn.Linear):
        return module(x)  # type: ignore[no-any-return]
    return affine(x, module.weight, module.bias)


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(N, d) -> (N, D) by weights (D, d) and a bias (D,)."""
    if not _HALF.get():
        return torch.nn.functional.linear(x, weight, bias)
    return _Affine.apply(x, weight, bias)  # type: ignore[no-any-return,no-untyped-call]


def affine_values(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same outside of autograd."""
    if not _HALF.get():
        return torch.addmm(bias, x, weight.t())
    return multiply(x, weight.t()).add_(bias)


class _Affine(torch.autograd.Function):
    """Linear layer in bfloat16; the bias is added in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return affine_values(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        with half_products():
            grad_x = multiply(grads[0], weight) if ctx.needs_input_grad[0] else None
            grad_weight = multiply(grads[0].t(), x) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight, grads[0].sum(0)
