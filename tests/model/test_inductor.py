"""The default backend of torch.compile gives the values of the eager model: a pre-training step and the CTC forward.

Its C++ takes minutes to compile on a slow core, so these run where WAV2VEC2_INDUCTOR is set.
"""

import os
import shutil
from collections.abc import Iterator

import pytest
import torch
from tests.model.conftest import make_model
from tests.model.test_invariants import batch, total
from tests.small_models import GROUP, LAYER
from torch import Tensor

from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.randomness import Draw
from wav2vec2.train.options import ModelConfig

TINY = ModelConfig(architecture="tiny").build()
COMPILER = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler"),
    pytest.mark.skipif("WAV2VEC2_INDUCTOR" not in os.environ, reason="takes minutes; set WAV2VEC2_INDUCTOR=1"),
]


@pytest.fixture(autouse=True)
def _one_process_and_eager_draws() -> Iterator[None]:
    import torch._inductor.config as inductor

    # dropout of the compiled model draws from torch's generator: here the same numbers as eager
    with inductor.patch(compile_threads=1, fallback_random=True):
        yield


def step(architecture: Architecture, *, compiled: bool) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Loss, gradients and code counts of one pre-training step with the default regularization."""
    torch.compiler.reset()
    model = make_model(architecture, Regularization(), torch.float32).train()
    model.encoder.packed = False
    call = torch.compile(model, fullgraph=True) if compiled else model
    waveforms, lengths = batch(16000, 12345, dtype=torch.float32)
    torch.manual_seed(5)
    output = call(waveforms, lengths, draw=Draw(1, torch.tensor(3), torch.arange(2)))
    loss = total(output)
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, output.code_counts


@pytest.mark.parametrize("architecture", [TINY, LAYER], ids=["tiny", "layer"])
def test_a_pretraining_step_is_the_eager_one(architecture: Architecture) -> None:
    loss, gradients, codes = step(architecture, compiled=False)
    theirs, others, counts = step(architecture, compiled=True)
    torch.testing.assert_close(theirs, loss, rtol=1e-5, atol=0)
    assert torch.equal(codes, counts)
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        if name.endswith("key.bias"):  # cancels in the softmax: rounding noise
            continue
        scale = float(gradient.abs().max())
        torch.testing.assert_close(others[name], gradient, rtol=1e-3, atol=1e-3 * scale + 1e-7, msg=name)


@pytest.mark.parametrize("architecture", [TINY, GROUP, LAYER], ids=["tiny", "group", "layer"])
def test_the_ctc_forward_is_the_eager_one(architecture: Architecture) -> None:
    torch.manual_seed(0)
    torch.compiler.reset()
    model = Wav2Vec2ForCTC(architecture, 11, Regularization(), Masking()).eval()
    waveforms, lengths = batch(16000, 12345, dtype=torch.float32)
    with torch.inference_mode():
        logits, frames = model(waveforms, lengths)
        theirs, counts = torch.compile(model, fullgraph=True)(waveforms, lengths)
    assert torch.equal(frames, counts)
    for row, count in enumerate(frames.tolist()):
        torch.testing.assert_close(theirs[row, :count], logits[row, :count], rtol=1e-4, atol=1e-5)
