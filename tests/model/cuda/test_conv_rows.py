"""The rows of the feature encoder, meant for GPUs, against its plain modules, on a CPU.

Triton's interpreter (TRITON_INTERPRET=1, documented by Triton) runs the kernel without a GPU; it is chosen when Triton
is imported, so that it runs in a process of its own.
"""

import importlib.util
import os
import subprocess
import sys
import weakref
from dataclasses import replace

import pytest
import torch
from tests.small_models import FAMILIES, noise, perturbed
from torch import Tensor

from wav2vec2.model.architecture import Architecture
from wav2vec2.model.cuda import conv_rows
from wav2vec2.model.feature_encoder import FeatureEncoder
from wav2vec2.model.layout import Padded

LENGTHS = (9000, 100, 12_345, 400)


def outputs(
    encoder: FeatureEncoder, rows: bool, kernel: bool, lengths: tuple[int, ...] = LENGTHS
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Valid frames of each utterance, and the gradients of all parameters of a random function of them."""
    encoder.rows, encoder.first_kernel = rows, kernel
    dtype = next(encoder.parameters()).dtype
    waveforms, samples = noise(*lengths, dtype=dtype, padding=7.0)
    full = len(set(lengths)) == 1
    frames, layout = encoder(waveforms, samples, False, full=full)
    assert isinstance(layout, Padded)
    assert frames.shape[1] == layout.frames == encoder.architecture.frame_length(max(lengths))
    valid = [row[:n] for row, n in zip(frames, encoder.frame_lengths(samples), strict=True)]
    weights = torch.randn(sum(map(len, valid)), frames.shape[2], generator=torch.Generator().manual_seed(9))
    names, parameters = zip(*encoder.named_parameters(), strict=True)
    gradients = torch.autograd.grad((torch.cat(valid) * weights.to(frames.dtype)).float().sum(), parameters)
    return valid, dict(zip(names, gradients, strict=True))


def encoder_of(architecture: Architecture, dtype: torch.dtype = torch.float64) -> FeatureEncoder:
    torch.manual_seed(0)
    return perturbed(FeatureEncoder(architecture).to(dtype), 0.1)


@pytest.mark.parametrize("lengths", [LENGTHS, (8000, 8000)], ids=["ragged", "full"])
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_equal_the_modules(family: str, lengths: tuple[int, ...]) -> None:
    encoder = encoder_of(FAMILIES[family])
    torch.testing.assert_close(
        outputs(encoder, True, False, lengths), outputs(encoder, False, False, lengths), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_equal_the_modules_for_other_kernels_and_strides(family: str) -> None:
    """Kernels of three strides, of two, of one, and a stride of one."""
    kernels, strides = (10, 7, 4, 3, 3), (5, 2, 2, 3, 1)
    channels = (8, 6, 10, 4, 8)
    architecture = replace(FAMILIES[family], conv_channels=channels, conv_kernels=kernels, conv_strides=strides)
    encoder = encoder_of(architecture)
    torch.testing.assert_close(outputs(encoder, True, False), outputs(encoder, False, False), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("gradients", [True, False])
def test_layers_are_kept_for_a_backward_pass_only(gradients: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    convolve, made, alive = conv_rows._Stack.convolve, list[weakref.ref[Tensor]](), list[int]()

    def watched(stack: conv_rows._Stack, index: int, x: Tensor) -> Tensor:
        alive.append(sum(one() is not None for one in made))
        conv = convolve(stack, index, x)
        made.append(weakref.ref(conv))
        return conv

    monkeypatch.setattr(conv_rows._Stack, "convolve", watched)
    encoder = encoder_of(FAMILIES["group"], torch.float32)
    encoder.rows, encoder.first_kernel = True, False
    with torch.set_grad_enabled(gradients):
        frames, _ = encoder(*noise(4000, 3000), False)
    assert frames.requires_grad == gradients
    assert alive == ([*range(len(alive))] if gradients else [0] + [1] * (len(alive) - 1))


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_under_autocast_are_as_close_as_the_modules(family: str) -> None:
    """To float32; what is rounded is the same up to the order of sums."""
    encoder = encoder_of(FAMILIES[family], torch.float32)
    exact, exact_gradients = outputs(encoder, False, False)
    with torch.autocast("cpu", torch.bfloat16):
        rows, gradients = outputs(encoder, True, False)
        modules, others = outputs(encoder, False, False)
    assert all(part.dtype == torch.bfloat16 for part in rows)
    assert distance(rows, exact) < 1.5 * distance(modules, exact) < 0.03
    assert all(gradient.dtype == torch.float32 for gradient in gradients.values())
    mine, plain, right = (list(g.values()) for g in (gradients, others, exact_gradients))
    assert distance(mine, right) < 1.5 * distance(plain, right) < 0.1


def distance(found: list[Tensor], expected: list[Tensor]) -> float:
    a, b = (torch.cat([part.flatten().double() for part in parts]) for parts in (found, expected))
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_read_nothing_back(family: str) -> None:
    """Tensors without data raise where a host would have to wait for one."""
    encoder = FeatureEncoder(FAMILIES[family]).to("meta")
    encoder.rows = True
    waveforms, lengths = torch.empty(3, 9000, device="meta"), torch.empty(3, dtype=torch.int64, device="meta")
    frames, _ = encoder(waveforms, lengths, False)
    frames.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_frozen_convolutions_keep_nothing() -> None:
    encoder = encoder_of(FAMILIES["group"])
    encoder.rows = True
    frames, _ = encoder(*noise(9000, dtype=torch.float64), False, 0.0)
    assert frames.grad_fn is None


KERNEL = f"""
import sys
import torch
sys.path.insert(0, {os.getcwd()!r})
from tests.model.cuda.test_conv_rows import *
from wav2vec2.model.cuda import first_kernel

# within the encoder, ragged, beside the plain form
encoder, lengths = encoder_of(FAMILIES["group"], torch.float32), (1500, 100, 900)
found, expected = (outputs(encoder, True, kernel, lengths) for kernel in (True, False))
torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

# alone, beside autograd in float64; rows and channels do not fill their blocks, and there are several parts
torch.manual_seed(0)
first_kernel._BLOCKS = 1
waves, maps, grad = torch.randn(2, 700), 0.3 * torch.randn(2, 11, 20), torch.randn(2, 130, 20).bfloat16()
exact = maps.double().requires_grad_()
windows = waves.double().unfold(1, 10, 5)[:, :130]
windows = torch.cat([windows, torch.ones_like(windows[:, :, :1])], dim=2)
plain = torch.nn.functional.gelu(windows @ exact)
plain.backward(grad.double())
wide = first_kernel.forward(waves, maps, 5, 130, torch.float32)
torch.testing.assert_close(wide.double(), plain.detach().view(-1, 20), rtol=1e-5, atol=1e-6)
sums = first_kernel.backward(waves, maps, 5, grad)
torch.testing.assert_close(sums.double(), exact.grad, rtol=1e-5, atol=1e-4)
half = first_kernel.forward(waves, maps, 5, 130, torch.bfloat16)
cut = (wide.view(torch.int32) & -65536).view(torch.float32).bfloat16()  # the interpreter cuts, a GPU rounds
assert torch.equal(half, cut)
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_the_kernel_equals_the_plain_form() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", KERNEL], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
