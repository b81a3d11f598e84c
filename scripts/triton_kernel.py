"""The Triton kernel of the first layer beside its plain form, on a GPU, at the sizes of BASE and of its paper's batch.

    python scripts/triton_kernel.py

`scripts/gpu_check.py` asks here before it times anything.
"""

import torch

from wav2vec2.model.architecture import ARCHITECTURES
from wav2vec2.model.conv_weights import LayerWeights
from wav2vec2.model.cuda.first_layer import FirstLayer, has_triton

TOLERANCE = 1e-4


def differences(device: torch.device) -> list[float]:
    """Relative differences of the kernel from its plain form: the result, and the gradients of its parameters."""
    torch.manual_seed(0)
    base, rows = ARCHITECTURES["base"], 50_048
    layer = LayerWeights(torch.randn(10, 512, device=device), None, *torch.randn(2, 512, device=device))
    waves, frames = 0.1 * torch.randn(3, 250_000, device=device), torch.tensor([49_999, 30_000, 0], device=device)
    grad, found = torch.randn(3 * rows, 512, device=device).bfloat16(), []
    for kernel in (True, False):
        first, sums = FirstLayer(layer, base, waves, frames, rows, torch.float32, kernel), layer.zeros()
        out = first.forward()
        first.backward(grad, sums)
        found.append([out, sums.matrix, sums.gain, sums.shift])
    return [((a - b).norm() / b.norm()).item() for a, b in zip(*found, strict=True)]


def verdict(device: torch.device) -> tuple[bool, str]:
    """Whether the kernel differs, and a line that says so."""
    if device.type == "cpu" or not has_triton():
        return False, "the Triton kernel: not compared, it needs a GPU and Triton"
    off = max(differences(device))
    return off > TOLERANCE, f"the Triton kernel is off by {off:.1e}: {'equal' if off <= TOLERANCE else 'NOT USED'}"


if __name__ == "__main__":
    print(verdict(torch.device("cuda"))[1])
