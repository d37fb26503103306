"""The connection to a Qdrant server, which survives restarts of servers and failures of networks.

A server that restarts or moves is away for seconds, and a server with several nodes has several
addresses. Every call that Lookalike makes can be repeated without harm, since points have their own
ids. So a call that one address does not answer goes to the next; if none answers, it is repeated as
long as the caller allows: a moment for a search, minutes for an ingestion.

The first address, in the order in which they are written, is used as long as it answers, so that
writers and readers use the same node. An address that does not answer is skipped, and tried from
time to time until it answers again. If an API key or a certificate is refused, the key and the
trusted authorities are read again from their files.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from qdrant_client import AsyncQdrantClient

from lookalike_crds.backoff import Backoff
from lookalike_crds.config import IndexConfig
from lookalike_crds.qdrant_versions import OLDEST, Version, parsed, too_old, written
from lookalike_serving.index.protocol import IndexFailure, IndexMismatch, IndexUnavailable
from lookalike_serving.index.qdrant_client import (
    IN_MEMORY,
    TIMEOUT_SECONDS,
    CredentialFiles,
    client_of,
)
from lookalike_serving.index.qdrant_errors import (
    CertificateRefused,
    CollectionLost,
    KeyRefused,
    TooSlow,
    translated,
)

log = logging.getLogger("lookalike.index")

_FEW_CALLS_SECONDS = 2.0
_BACKOFF = Backoff(base=0.1, cap=5.0)
"""Between attempts while no address answers."""
_QUIET_SECONDS = 1.0
"""A call that takes longer may be one to a machine that vanished: it is asked whether it lives."""
_CHECK_SECONDS = 1.0
"""For that answer."""
_LOOKS = Backoff(base=0.5, cap=10.0)
"""Between looks at an address that is left out."""
_STEADY_SECONDS = 60.0
"""An address that has answered as long is looked at soon again when it fails."""

T = TypeVar("T")
Make = Callable[[AsyncQdrantClient], Awaitable[T]]


class _Node:
    """One address of the server."""

    def __init__(self, url: str, client: AsyncQdrantClient) -> None:
        self.url = url
        self.client = client
        self.version: Version | None = None
        """As far as it has been asked."""
        self.left_out: asyncio.Task[None] | None = None
        """What looks at it until it answers again."""
        self.check: asyncio.Task[IndexFailure | None] | None = None
        """Whether it lives: under way, for all calls that it keeps waiting."""
        self.looks = 0
        self.failed_at = 0.0
        self.back_at = 0.0


class Connection:
    """Clients of one server's addresses, and their replacement when the credentials change."""

    def __init__(
        self,
        clients: Mapping[str, AsyncQdrantClient],
        *,
        patience_seconds: float = 0.0,
        reconnect: Callable[[], Mapping[str, AsyncQdrantClient] | None] = lambda: None,
    ) -> None:
        """`clients`: by address, the one to be preferred first. `reconnect` answers clients with
        newer credentials; None if there are none."""
        self._nodes = [_Node(url, client) for url, client in clients.items()]
        self.where = " or ".join(clients)
        self.patience_seconds = patience_seconds
        self._reconnect = reconnect
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def is_local(self) -> bool:
        """Whether it is qdrant-client's local mode, and no server."""
        return self.where == IN_MEMORY

    @property
    def version(self) -> Version | None:
        """Of the oldest node, as far as they have been asked."""
        return min((n.version for n in self._nodes if n.version is not None), default=None)

    async def call(self, doing: str, make: Make[T]) -> T:
        """What `make` gets from the server. `doing` begins the message of a failure.

        Raises IndexFailure and nothing else.
        """
        deadline = time.monotonic() + self.patience_seconds
        failures = 0
        while True:
            try:
                if len(self._nodes) == 1:
                    return await self._asked(self._nodes[0], doing, make)
                return await self._one_of_all(doing, make)
            except CollectionLost:
                raise
            except IndexUnavailable as failure:
                failures += 1
                # A server that bids to wait says for how long.
                wait = getattr(failure.__cause__, "retry_after_s", 0) or _BACKOFF.after(failures)
                if time.monotonic() + wait > deadline:
                    raise
                if failures == 1:
                    log.warning("%s; trying again for %g s", failure, self.patience_seconds)
                await asyncio.sleep(wait)

    async def read_versions(self) -> None:
        """Ask every address for its version; those that do not answer now are asked when they do.

        Raises IndexFailure if none answers, IndexMismatch if one is older than what is
        supported.
        """
        if self.is_local:
            return
        doing = "asking for the version"
        if len(self._nodes) == 1:
            (node,) = self._nodes
            told = await self.call(doing, lambda client: client.info())
            node.version = _checked(node, told.version)
            return
        # One answers, or it is reported why none does.
        await self.call(doing, lambda client: client.info())
        problems = await asyncio.gather(*(self._check(node) for node in self._nodes))
        for problem in problems:
            if isinstance(problem, IndexMismatch):
                raise problem

    async def close(self) -> None:
        looking = [t for node in self._nodes for t in (node.left_out, node.check) if t is not None]
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)
        await asyncio.gather(*self._closing)
        for node in self._nodes:
            await node.client.close()

    # One address

    async def _asked(self, node: _Node, doing: str, make: Make[T]) -> T:
        while True:
            client = node.client
            try:
                with translated(doing, node.url):
                    return await make(client)
            except (KeyRefused, CertificateRefused):
                if not self._renewed(node, client):
                    raise

    def _renewed(self, node: _Node, refused: AsyncQdrantClient) -> bool:
        """Whether there is another client to try than the one that was refused."""
        if node.client is not refused:
            return True  # another call has seen to it
        clients = self._reconnect()
        if clients is None:
            return False
        for each in self._nodes:
            # What is under way on the old one comes to its end first.
            closing = asyncio.create_task(each.client.close(grpc_grace=float(TIMEOUT_SECONDS)))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            each.client = clients[each.url]
        return True

    # Several

    async def _one_of_all(self, doing: str, make: Make[T]) -> T:
        """What the first address that answers gets.

        The next one is asked when one fails, and also when one is silent, which is not given up by
        that: a machine that has much to do is slow to say that it lives.
        """
        untried = self._in_order()
        under_way: dict[asyncio.Task[T], _Node] = {}
        failures: list[IndexFailure] = []
        try:
            while untried or under_way:
                if untried and all(node.left_out for node in under_way.values()):
                    node = untried.pop(0)
                    under_way[asyncio.create_task(self._asked(node, doing, make))] = node
                done, _ = await asyncio.wait(
                    under_way,
                    timeout=_QUIET_SECONDS if untried else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    node = under_way.pop(task)
                    try:
                        answer = task.result()
                    except TooSlow:
                        raise
                    except CollectionLost as failure:
                        # Of one that lost its disk and has not joined the others again yet?
                        failures.append(failure)
                    except IndexUnavailable as failure:
                        self._leave_out(node, failure)
                        failures.append(failure)
                    else:
                        node.failed_at = 0.0
                        return answer
                if not done:
                    quiet = [node for node in under_way.values() if node.left_out is None]
                    await asyncio.gather(*(self._check(node) for node in quiet))
        finally:
            for task in under_way:
                task.cancel()
        raise _all_of(failures)

    def _in_order(self) -> list[_Node]:
        """Those that answer as they are written, then the others: the last that failed last."""
        answering = [node for node in self._nodes if node.left_out is None]
        others = [node for node in self._nodes if node.left_out is not None]
        return answering + sorted(others, key=lambda node: node.failed_at)

    def _leave_out(self, node: _Node, failure: IndexFailure) -> None:
        node.failed_at = time.monotonic()
        if node.left_out is not None:
            return
        if node.failed_at - node.back_at > _STEADY_SECONDS:
            node.looks = 0
        log.warning("Qdrant at %s is skipped until it answers again: %s", node.url, failure)
        node.left_out = asyncio.create_task(self._look_until_it_answers(node))

    async def _look_until_it_answers(self, node: _Node) -> None:
        while True:
            node.looks += 1
            await asyncio.sleep(_LOOKS.after(node.looks))
            if await self._look_at(node) is None:
                break
        log.info("Qdrant at %s answers again", node.url)
        node.back_at = time.monotonic()
        node.left_out = None

    async def _check(self, node: _Node) -> IndexFailure | None:
        """Why a node is not to be asked. Its caller may be cancelled, the check continues."""
        if node.check is None or node.check.done():
            node.check = asyncio.create_task(self._checked_now(node))
        return await asyncio.shield(node.check)

    async def _checked_now(self, node: _Node) -> IndexFailure | None:
        failure = await self._look_at(node)
        if failure is not None:
            self._leave_out(node, failure)
        return failure

    async def _look_at(self, node: _Node) -> IndexFailure | None:
        """Why it is not to be asked: it does not answer, or is older than what is supported."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                told = await self._asked(node, "looking", lambda client: client.info())
            node.version = _checked(node, told.version)
        except TimeoutError:
            return IndexUnavailable(f"it does not answer within {_CHECK_SECONDS:g} s")
        except IndexFailure as failure:
            return failure
        return None


def connected(
    addresses: Sequence[str],
    grpc_port: int | None,
    files: CredentialFiles,
    *,
    patience_seconds: float,
) -> Connection:
    """A connection to the addresses of one server, which follows its credentials' files. Does not
    connect yet."""
    used = files.read()

    def clients() -> dict[str, AsyncQdrantClient]:
        return {url: client_of(url, grpc_port, used) for url in addresses}

    def reconnect() -> dict[str, AsyncQdrantClient] | None:
        nonlocal used
        found = files.read()
        if found == used:
            return None
        used = found
        where = " or ".join(addresses)
        log.info("the credentials for Qdrant at %s were replaced: connecting again", where)
        return clients()

    return Connection(clients(), patience_seconds=patience_seconds, reconnect=reconnect)


@asynccontextmanager
async def connection_of(index: IndexConfig) -> AsyncIterator[Connection]:
    """A connection to the server that an index is on, for a few calls."""
    files = CredentialFiles(index.api_key_file, index.ca_file)
    connection = connected(
        index.addresses, index.grpc_port, files, patience_seconds=_FEW_CALLS_SECONDS
    )
    try:
        yield connection
    finally:
        await connection.close()


def _checked(node: _Node, told: str) -> Version | None:
    """Raises IndexMismatch if the version is older than what is supported."""
    version = parsed(told)
    if too_old(version):
        raise IndexMismatch(
            f"Qdrant at {node.url} has version {told}, and the oldest supported version is "
            f"{written(OLDEST)}: upgrade it"
        )
    return version


def _all_of(failures: Sequence[IndexFailure]) -> IndexFailure:
    """What a call that no address answered fails with."""
    lost = next((each for each in failures if isinstance(each, CollectionLost)), None)
    if lost is not None or len(failures) == 1:
        return lost or failures[0]
    return IndexUnavailable("; ".join(str(failure) for failure in failures))
