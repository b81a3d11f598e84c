import sys

import pytest
import torch
from scripts import loss_check


def test_twenty_steps_give_the_stored_losses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["loss_check.py"])
    threads = torch.get_num_threads()
    try:
        assert loss_check.main() == 0
    finally:
        torch.set_num_threads(threads)
    assert capsys.readouterr().out.count("as expected") == 3
