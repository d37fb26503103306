"""Images from the network, without becoming a way into the network.

    URL -> scheme and host -> resolve -> judge every address -> connect to a judged address
        -> redirect? the same again -> body, counted while it arrives

The check and the connection use the same resolved address: the check sits inside the network
backend, at the one place where connections are made, so that a name server that answers
differently the second time (DNS rebinding) has no second time. TLS still verifies the name.
Proxies named in the environment are ignored: through one, the proxy would resolve.

What is fetched is bytes; whether they are an image is for `decode` to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version

import httpcore
import httpx

from lookalike_crds.config import FetchPolicy
from lookalike_serving.images.addresses import is_public
from lookalike_serving.images.errors import Busy, Code, ImageError

_BUSY = {429, 503}
_NOT_MODIFIED = 304
_REDIRECTS = {301, 302, 303, 307, 308}
_CONNECT_SECONDS = 5.0
_MAX_CONNECTIONS = 64
_SHOWN_URL = 200


AGENT = f"lookalike/{version('lookalike')}"
"""What is sent as `User-Agent`."""
_LONGEST_VALIDATOR = 512


@dataclass(frozen=True, slots=True)
class Validators:
    """By which a server tells whether what is at an address has changed (RFC 9110, 8.8)."""

    etag: str | None = None
    last_modified: str | None = None

    def __bool__(self) -> bool:
        return self.etag is not None or self.last_modified is not None

    def asked(self) -> list[tuple[bytes, bytes]]:
        """The header fields of a conditional request."""
        said = ((b"If-None-Match", self.etag), (b"If-Modified-Since", self.last_modified))
        return [(name, value.encode("latin-1")) for name, value in said if value is not None]


@dataclass(frozen=True, slots=True)
class Fetched:
    data: bytes
    content_type: str | None
    """As the server says; not to be trusted."""
    url: str
    """Where the data came from in the end, after redirects."""
    validators: Validators = Validators()


class ImageFetcher:
    """Fetches within a policy. One for a process; usable from one event loop, closed at its end.

    `ssl_context` replaces the trust in public certificate authorities, such as for a private
    one.
    """

    def __init__(self, policy: FetchPolicy, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self.policy = policy
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context or httpx.create_ssl_context(trust_env=False),
            max_connections=_MAX_CONNECTIONS,
            max_keepalive_connections=16,
            keepalive_expiry=15.0,
            network_backend=_GuardedBackend(policy),
        )

    async def fetch(self, url: str) -> Fetched:
        """The bytes at `url`, redirects followed.

        Raises ImageError: `bad_reference`, `forbidden_scheme`, `forbidden_address`,
        `unreachable`, `timeout`, `http_status`, `too_many_redirects`, `too_large`, `empty`.
        """
        fetched = await self.fetch_unless(url, Validators())
        assert fetched is not None  # nothing was asked for that may be left out
        return fetched

    async def fetch_unless(self, url: str, known: Validators) -> Fetched | None:
        """What `fetch` gives; None if what is there is still what the validators are of.

        Raises what `fetch` raises.
        """
        try:
            async with asyncio.timeout(self.policy.timeout_seconds):
                return await self._follow(url, known)
        except TimeoutError:
            raise ImageError(
                Code.TIMEOUT,
                f"{shown(url)} did not arrive within {self.policy.timeout_seconds:g} seconds: "
                "try again, or upload the image itself",
            ) from None

    async def read(self, address: str) -> bytes:
        """The bytes alone. Raises what `fetch` raises."""
        return (await self.fetch(address)).data

    async def close(self) -> None:
        await self._pool.aclose()

    async def _follow(self, url: str, known: Validators) -> Fetched | None:
        current = checked_url(url, self.policy.schemes)
        for _ in range(self.policy.max_redirects + 1):
            async with self._get(current, known) as response:
                location = _header(response, b"location")
                if response.status in _REDIRECTS and location:
                    current = _followed(current, location, self.policy.schemes, url)
                    continue
                if response.status == _NOT_MODIFIED and known:
                    return None
                if response.status in _BUSY:
                    raise Busy(
                        Code.HTTP_STATUS,
                        f"{shown(current)} answered {_status(response.status)}: try again later, "
                        "or upload the image itself",
                        _seconds(_header(response, b"retry-after")),
                    )
                if response.status != 200:
                    raise ImageError(
                        Code.HTTP_STATUS,
                        f"{shown(current)} answered {_status(response.status)}: check that the "
                        "address is right and publicly accessible, or upload the image itself",
                    )
                data = await self._body(response, current)
                kind = _header(response, b"content-type")
                return Fetched(data, kind, str(current), _validators(response))
        raise ImageError(
            Code.TOO_MANY_REDIRECTS,
            f"{shown(url)} redirects more than {self.policy.max_redirects} times: use the "
            "address that it leads to",
        )

    @contextlib.asynccontextmanager
    async def _get(self, url: httpx.URL, known: Validators) -> AsyncIterator[httpcore.Response]:
        headers = [
            (b"Host", url.netloc),
            (b"Accept", b"image/*,*/*;q=0.5"),
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", AGENT.encode()),
            *known.asked(),
        ]
        target = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        limits = {
            "connect": min(_CONNECT_SECONDS, self.policy.timeout_seconds),
            "pool": self.policy.timeout_seconds,
            "read": self.policy.timeout_seconds,
            "write": self.policy.timeout_seconds,
        }
        try:
            async with self._pool.stream(
                "GET", target, headers=headers, extensions={"timeout": limits}
            ) as response:
                yield response
        except _Forbidden:
            raise ImageError(
                Code.FORBIDDEN_ADDRESS,
                f"{shown(url)} leads to an address that is not of the public internet (loopback, "
                "private, link-local or metadata): upload the image itself, or have the host "
                "added to fetch.allowed_hosts",
            ) from None
        except (httpcore.TimeoutException, httpcore.ConnectError) as error:
            timed_out = isinstance(error, httpcore.TimeoutException)
            raise ImageError(
                Code.TIMEOUT if timed_out else Code.UNREACHABLE,
                f"{shown(url)} cannot be reached ({_cause(error)}): check the address, or upload "
                "the image itself",
            ) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol):
            raise ImageError(
                Code.UNREACHABLE,
                f"{shown(url)} ended its answer early: try again, or upload the image itself",
            ) from None

    async def _body(self, response: httpcore.Response, url: httpx.URL) -> bytes:
        cap = self.policy.max_bytes
        stated = _header(response, b"content-length")
        if stated and stated.isdigit() and int(stated) > cap:
            raise self._too_large(url, f"{int(stated):,} bytes")
        inflate = _inflater(_header(response, b"content-encoding"), url)
        body = bytearray()
        async for chunk in response.aiter_stream():
            try:
                # One byte above the cap is enough to know; a bomb is never unpacked.
                body += inflate.decompress(chunk, cap + 1 - len(body)) if inflate else chunk
            except zlib.error:
                raise ImageError(
                    Code.UNREACHABLE,
                    f"{shown(url)} sent a damaged compressed answer: upload the image itself",
                ) from None
            if len(body) > cap:
                raise self._too_large(url, f"more than {cap:,} bytes")
        if not body:
            raise ImageError(
                Code.EMPTY, f"{shown(url)} answered with 0 bytes: check that the image exists"
            )
        return bytes(body)

    @staticmethod
    def _too_large(url: httpx.URL, size: str) -> ImageError:
        return ImageError(
            Code.TOO_LARGE, f"{shown(url)} is too large ({size}): use a smaller version of it"
        )


class _Forbidden(Exception):
    """A name resolved to no address that may be connected to."""


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves names itself, and connects only to addresses it has judged."""

    def __init__(self, policy: FetchPolicy) -> None:
        self._anyone = policy.allow_private_addresses
        self._exempt = frozenset(host.lower().rstrip(".") for host in policy.allowed_hosts)
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._resolve(host, port)
        if not (self._anyone or host.lower().rstrip(".") in self._exempt):
            addresses = [address for address in addresses if is_public(address)]
            if not addresses:
                raise _Forbidden
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise _Forbidden

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)

    @staticmethod
    async def _resolve(host: str, port: int) -> list[str]:
        """Addresses of `host`, the preferred first; 0x7f.1 and 2130706433 resolve too."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the host name is not known") from error
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def checked_url(url: str, schemes: Iterable[str], *, came_from: str | None = None) -> httpx.URL:
    """An address that may be connected to, as far as its text tells. Raises ImageError."""
    where = f"{shown(url)}, a redirect of {shown(came_from)}," if came_from else shown(url)
    try:
        parsed = httpx.URL(url.strip())
        # Every part is taken apart here: some are decoded only when they are asked for, and a
        # host that IDNA refuses (`xn--`) raises then.
        host, port, userinfo = parsed.host, parsed.port, parsed.userinfo
        parsed.raw_host.decode("ascii")
        str(parsed).encode()
    except (httpx.InvalidURL, ValueError):  # UnicodeError and idna.IDNAError are ValueErrors
        raise ImageError(
            Code.BAD_REFERENCE, f"{where} is not a URL: check for typing errors"
        ) from None
    if parsed.scheme not in schemes:
        allowed = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ImageError(
            Code.FORBIDDEN_SCHEME,
            f"{where} has the scheme {parsed.scheme or '(none)'!r}: use {allowed}",
        )
    if userinfo:
        raise ImageError(
            Code.BAD_REFERENCE,
            f"{where} carries a user name or password: use an address that needs neither",
        )
    if not host or not 1 <= (port or 1) <= 65535:
        raise ImageError(
            Code.BAD_REFERENCE, f"{where} names no host and port: write https://host/path"
        )
    return parsed


def _followed(
    current: httpx.URL, location: str, schemes: Iterable[str], came_from: str
) -> httpx.URL:
    """Where a redirect leads. Raises ImageError."""
    try:
        target = str(current.join(location))
    except (httpx.InvalidURL, ValueError):
        target = location
    return checked_url(target, schemes, came_from=came_from)


def shown(url: str | httpx.URL) -> str:
    """A URL fit for an error: no password, no signature in the query, not endless."""
    text = str(url).strip()
    for separator in ("#", "?"):
        text = text.partition(separator)[0]
    scheme, slashes, rest = text.partition("://")
    if slashes:
        authority, slash, path = rest.partition("/")
        text = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= _SHOWN_URL else text[: _SHOWN_URL - 1] + "…"


def _header(response: httpcore.Response, name: bytes) -> str | None:
    for key, value in response.headers:
        if key.lower() == name:
            return value.decode("latin-1").strip()
    return None


def _validators(response: httpcore.Response) -> Validators:
    said = [_header(response, name) for name in (b"etag", b"last-modified")]
    usable = [
        each if each and len(each) <= _LONGEST_VALIDATOR and each.isprintable() else None
        for each in said
    ]
    return Validators(*usable)


def _seconds(retry_after: str | None) -> float | None:
    """What `Retry-After` says: a number of seconds, or a date; None if it says neither."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (at - datetime.now(at.tzinfo)).total_seconds())


def _status(status: int) -> str:
    phrase = httpx.codes.get_reason_phrase(status)
    return f"{status} {phrase}" if phrase else str(status)


def _cause(error: Exception) -> str:
    """Why no connection came about, without addresses or file names of ours."""
    if isinstance(error, httpcore.TimeoutException):
        return "no answer in time"
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None:
        chain.append(link)
        link = link.__cause__ or link.__context__
    for reason, kinds in (
        ("its TLS certificate is not valid", ssl.SSLCertVerificationError),
        ("TLS failed", ssl.SSLError),
        ("connection refused", ConnectionRefusedError),
        ("the host name is not known", (socket.gaierror, UnicodeError)),
    ):
        if any(isinstance(link, kinds) for link in chain):
            return reason
    return "no connection"


class _Inflater:
    """Unpacks gzip or deflate, never more than it is asked for."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: either header

    def decompress(self, chunk: bytes, most: int) -> bytes:
        return self._inner.decompress(chunk, most) if most > 0 else b""


def _inflater(encoding: str | None, url: httpx.URL) -> _Inflater | None:
    """What undoes a content encoding that the server chose although we asked for none."""
    match (encoding or "identity").lower():
        case "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return _Inflater()
        case other:
            raise ImageError(
                Code.UNREACHABLE,
                f"{shown(url)} answered in the encoding {other[:40]!r}: upload the image itself",
            )
