"""What is to go wrong, and the gate that every call passes to have it go wrong.

A call is named as gRPC names it, `Upsert` or `Collections/Get`; the REST routes of the same
meaning go by the same names.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from grpc import StatusCode
from pydantic import BaseModel, ConfigDict, Field, field_validator
from tests.qdrant_server.refusals import Refusal

T = TypeVar("T")


class MethodFault(BaseModel):
    """One method's failure: which calls of it fail, and whether they had their effect first."""

    model_config = ConfigDict(extra="forbid")

    code: str
    """A gRPC status code's name, such as UNAVAILABLE."""
    after: int = 0
    """As many calls succeed first."""
    times: int | None = None
    """As many calls fail then; None: all."""
    applied: bool = False
    """The call is carried out, and only its answer lost."""

    @field_validator("code")
    @classmethod
    def _known(cls, code: str) -> str:
        if code not in StatusCode.__members__:
            known = ", ".join(StatusCode.__members__)
            raise ValueError(f"{code!r} is no gRPC status code: use one of {known}")
        return code


class Faults(BaseModel):
    """The body of `POST /__faults`; it replaces what was set before."""

    model_config = ConfigDict(extra="forbid")

    latency_seconds: float = Field(default=0, ge=0)
    """Every call is answered so much later."""
    prompt_methods: list[str] = []
    """Calls that are not."""
    refuse: int = Field(default=0, ge=0)
    """The next so many calls are answered UNAVAILABLE."""
    unauthenticated: bool = False
    """Every key is refused."""
    drop_connections: bool = False
    """Connections are reset, those that are open and those that come."""
    silence_connections: bool = False
    """The gRPC connections that are open now carry nothing more; new ones do."""
    fail_methods: dict[str, MethodFault] = {}

    @field_validator("fail_methods", mode="before")
    @classmethod
    def _short(cls, methods: object) -> object:
        if not isinstance(methods, dict):
            return methods
        return {m: {"code": f} if isinstance(f, str) else f for m, f in methods.items()}


class Gate:
    """Keeps the faults, counts the calls, checks the key."""

    def __init__(self, api_key: str | None) -> None:
        self.api_key = api_key
        self.faults = Faults()
        self.calls: Counter[str] = Counter()
        """Since the start, by method: `Points/Upsert`."""
        self._since: Counter[str] = Counter()
        """The same since the faults were set."""
        self.dropping: Callable[[], None] = lambda: None
        """Called when connections are to be dropped from now on."""
        self.silencing: Callable[[], None] = lambda: None
        """Called when those that are open are to fall silent."""

    def set(self, faults: Faults) -> None:
        self.faults = faults
        self._since.clear()
        if faults.drop_connections:
            self.dropping()
        if faults.silence_connections:
            self.silencing()

    async def passed(
        self, method: str, key: str | None, call: Callable[[], T], *, open_to_all: bool = False
    ) -> T:
        """What `call` answers, unless a fault has it otherwise. Raises Refusal.

        `method` is `Service/Method`, `key` the API key that came along.
        """
        self.calls[method] += 1
        faults = self.faults
        if faults.latency_seconds and method not in faults.prompt_methods:
            await asyncio.sleep(faults.latency_seconds)
        known = not faults.unauthenticated and self.api_key in (None, key)
        if not known and not open_to_all:
            raise Refusal(StatusCode.UNAUTHENTICATED, "Invalid API key or JWT")
        if faults.refuse:
            faults.refuse -= 1
            raise Refusal(StatusCode.UNAVAILABLE, "Service is temporarily unavailable")
        fault = self._fault(method)
        if fault is None:
            return call()
        if fault.applied:
            call()
        raise Refusal(StatusCode[fault.code], f"{method} fails by order")

    def _fault(self, method: str) -> MethodFault | None:
        methods = self.faults.fail_methods
        fault = methods.get(method) or methods.get(method.partition("/")[2])
        if fault is None:
            return None
        self._since[method] += 1
        failed = self._since[method] - fault.after
        fails = failed > 0 and (fault.times is None or failed <= fault.times)
        return fault if fails else None
