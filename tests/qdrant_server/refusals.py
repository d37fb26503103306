"""What a Qdrant server refuses, with the status it has over gRPC and over REST."""

from __future__ import annotations

from grpc import StatusCode

_HTTP = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.DEADLINE_EXCEEDED: 408,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.UNAVAILABLE: 503,
}


class Refusal(Exception):
    """An answer other than the one asked for."""

    def __init__(self, code: StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def http_status(self) -> int:
        return _HTTP.get(self.code, 500)


def no_collection(name: str) -> Refusal:
    return Refusal(StatusCode.NOT_FOUND, f"Not found: Collection `{name}` doesn't exist!")


def no_point(id: object) -> Refusal:
    return Refusal(StatusCode.NOT_FOUND, f"Not found: No point with id {id} found")


def already_exists(name: str) -> Refusal:
    text = f"Wrong input: Collection `{name}` already exists!"
    return Refusal(StatusCode.ALREADY_EXISTS, text)


def wrong_input(text: str) -> Refusal:
    return Refusal(StatusCode.INVALID_ARGUMENT, f"Wrong input: {text}")
