"""Errors of the server's interface, in the one shape that OpenAI's clients read."""

from typing import Any

RETRY_SECONDS = 5

_OF_FILE = {
    "bad_file": (400, "invalid_file"),
    "bad_audio": (400, "invalid_audio"),
    "too_long": (413, "audio_too_long"),
    "too_large": (413, "audio_too_large"),
}


class ApiError(Exception):
    """An answer that is an error.

    status: of HTTP. code: a word for programs. param: the name of the field that is wrong. headers: beside it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = headers or {}

    @classmethod
    def of_file(cls, message: str, code: str) -> "ApiError":
        """Return the error for what a decoder process says of a file."""
        if code not in _OF_FILE:
            return crashed(message)
        status, name = _OF_FILE[code]
        return cls(status, message, name, param="file")

    def body(self) -> dict[str, Any]:
        """Return the JSON of the answer."""
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def wrong(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """Return the error for a request that is wrong."""
    return ApiError(400, message, code, param=param)


def busy(message: str) -> ApiError:
    """Return the error for a server that has too much to do."""
    return ApiError(503, message, "server_busy", headers={"retry-after": str(RETRY_SECONDS)})


def crashed(message: str) -> ApiError:
    """Return the error for a request that made a process die; the same request would again, so no client retries."""
    return ApiError(500, message, "processing_failed", headers={"x-should-retry": "false"})
