"""What the machine reaches in plain matrix products: the ceiling for everything that a model does."""

import time

import torch

_CPU_SIZES, _GPU_SIZES = (1024, 2048), (4096, 8192, 16384)
_SECONDS = 0.5


def matmul_ceiling(device: torch.device, *, half: bool, seconds: float = _SECONDS) -> float:
    """Operations a second of square products in float32, or in bfloat16 if ``half``: the best of a few sizes.

    About ``seconds`` are spent on each size. Their median counts, so that neither the first product nor a moment in
    which the machine does something else does.
    """
    dtype = torch.bfloat16 if half else torch.float32
    sizes = _GPU_SIZES if device.type == "cuda" else _CPU_SIZES
    return max(_rate(device, dtype, size, seconds) for size in sizes)


def _rate(device: torch.device, dtype: torch.dtype, size: int, seconds: float) -> float:
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty(size, size, dtype=dtype, device=device)
    torch.mm(a, b, out=out)
    repeat = 10 if device.type == "cuda" else 1
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < seconds:
        synchronize(device)
        started = time.perf_counter()
        for _ in range(repeat):
            torch.mm(a, b, out=out)
        synchronize(device)
        taken.append(time.perf_counter() - started)
    return 2.0 * size**3 * repeat / sorted(taken)[len(taken) // 2]


def synchronize(device: torch.device) -> None:
    """Wait for what a GPU has been given to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
