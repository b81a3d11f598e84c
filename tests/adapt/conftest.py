import pytest
from tests.adapt.made_up_recordings import smallest, write_recordings
from tests.run_here import run_here

from wav2vec2.adapt import command
from wav2vec2.adapt.options import AdaptOptions


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> AdaptOptions:
    """An adaptation that nothing disturbed; its commands ran in this process."""
    root = tmp_path_factory.mktemp("adapt")
    options = smallest(root / "mine", *write_recordings(root))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wav2vec2.pipeline.engine.run_command", run_here)
        command.run(options)
    return options
