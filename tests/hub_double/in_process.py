"""The hub's library of this process, turned to a double; what it reads of its environment when it is imported."""

from pathlib import Path

import pytest
from huggingface_hub import constants
from tests.hub_double.server import HubDouble


def turn_to(double: HubDouble, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the end of a test, the hub is the double, its cache a folder, and no attempt waits for the next."""
    monkeypatch.setattr(constants, "ENDPOINT", double.endpoint)
    template = double.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
