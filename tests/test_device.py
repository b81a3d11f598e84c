import pytest
import torch

from wav2vec2.device import computing_in, product_type
from wav2vec2.errors import UserError

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize("has", [True, False])
def test_precision_by_default_is_bf16_where_a_gpu_has_it(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has or including_emulation)
    assert product_type("auto", GPU) == (torch.bfloat16 if has else None)
    assert product_type("auto", CPU) is None
    assert product_type("float32", GPU) is None
    assert product_type("fp16", GPU) == torch.float16
    assert product_type("bf16", CPU) == torch.bfloat16
    if has:
        assert product_type("bf16", GPU) == torch.bfloat16
    else:
        with pytest.raises(UserError, match=r"^precision: .* choose fp16 or float32$"):
            product_type("bf16", GPU)


def test_products_are_in_half_precision() -> None:
    x = torch.ones(3, 3)
    with computing_in(torch.bfloat16, CPU):
        assert (x @ x).dtype == torch.bfloat16
    with computing_in(None, CPU):
        assert (x @ x).dtype == torch.float32
