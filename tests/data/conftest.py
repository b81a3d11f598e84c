from collections.abc import Iterator

import pytest
from tests.object_store import KEYS, FlakyServer, forget_connections, s3_server


@pytest.fixture(scope="session")
def _s3_address() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def s3(_s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a real S3 server with an empty bucket "speech"; s3:// leads to it."""
    import s3fs

    for name, value in (KEYS | {"AWS_ENDPOINT_URL": _s3_address}).items():
        monkeypatch.setenv(name, value)
    forget_connections()
    files = s3fs.S3FileSystem()
    files.mkdir("speech")
    yield _s3_address
    files.invalidate_cache()
    files.rm("speech", recursive=True)
    forget_connections()


@pytest.fixture
def flaky() -> Iterator[FlakyServer]:
    pytest.importorskip("aiohttp")
    server = FlakyServer()
    forget_connections()
    yield server
    server.close()
    forget_connections()
