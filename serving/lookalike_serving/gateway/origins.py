"""Which web pages may use a service without keys: its own, and no other.

A service on loopback without keys is open to everyone who works on the machine, and through them to
every page that their browser shows. Two checks keep such pages out. `Host` must be a name under
which the service is served: a foreign name that resolves to 127.0.0.1 (DNS rebinding) is refused.
And if a browser says which page sends the request – in `Sec-Fetch-Site` or `Origin` – everything
that reads or changes data answers only our own pages. Programs other than browsers send neither
header, and are not affected.

If keys are configured, they are the check: a foreign page has none to send.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from lookalike_crds.config import HttpConfig
from lookalike_crds.failures import FOREIGN_PAGE, WRONG_HOST
from lookalike_crds.hosts import is_loopback
from lookalike_serving.gateway.context import request_id_of
from lookalike_serving.gateway.headers import values_of
from lookalike_serving.gateway.responses import problem_response
from lookalike_serving.problems import Problem

_DATA = ("/v1", "/internal", "/metrics")
_OURS = frozenset({b"same-origin", b"none"})
"""Of Sec-Fetch-Site: our own page; the address bar. `same-site` is any server of this machine."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


class OwnPagesOnly:
    """ASGI middleware: without keys, 421 for a foreign Host and 403 for a foreign page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["app"].state.keys is None:
            http: HttpConfig = scope["app"].state.service.config.http
            refusal = wrong_host(scope, http) or foreign_page(scope, http)
            if refusal is not None:
                await problem_response(refusal, request_id_of(scope))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def wrong_host(scope: Scope, http: HttpConfig) -> Problem | None:
    """421 if the request names a host that is not served here.

    The port is ignored: a tunnel has its own, and a page cannot choose a name by it. HTTP/1.0 may
    omit Host, which no browser does.
    """
    given = values_of(scope["headers"], b"host")
    if not given or (len(given) == 1 and _is_served(_host_of(given[0]), http)):
        return None
    told = b", ".join(given).decode("latin-1")[:200]
    return Problem(
        WRONG_HOST,
        f"Host {told!r} is not served here: use http://localhost:{http.port}, or configure API "
        "keys, which allow any host name.",
    )


def foreign_page(scope: Scope, http: HttpConfig) -> Problem | None:
    """403 if a browser asks for data on behalf of a page that is not ours."""
    if not scope["path"].startswith(_DATA) or _is_navigation(scope):
        return None
    headers = scope["headers"]
    sites = values_of(headers, b"sec-fetch-site")
    origins = values_of(headers, b"origin")
    if all(site in _OURS for site in sites) and all(
        _is_own(origin, values_of(headers, b"host"), http) for origin in origins
    ):
        return None
    told = b", ".join(origins or sites).decode("latin-1")[:200]
    return Problem(
        FOREIGN_PAGE,
        f"A web page of another origin ({told}) sent this request, and a service without API "
        "keys only answers its own page. Send the request from a program, or configure API "
        "keys.",
    )


def _is_navigation(scope: Scope) -> bool:
    """Somebody follows a link to a document of its own tab: the page they come from cannot read it,
    and nothing changes."""
    headers = scope["headers"]
    return (
        scope["method"] in {"GET", "HEAD"}
        and values_of(headers, b"sec-fetch-mode") == [b"navigate"]
        and values_of(headers, b"sec-fetch-dest") == [b"document"]
    )


def _is_own(origin: bytes, hosts: list[bytes], http: HttpConfig) -> bool:
    """Whether an Origin is the host that is asked, or the public address of a proxy before us."""
    given = _split(origin.decode("latin-1"))
    if given is None:
        return False
    own = [_split(f"{given[0]}://{host.decode('latin-1')}") for host in hosts]
    return given in own or (http.public_url is not None and given == _split(http.public_url))


def _split(url: str) -> tuple[str, str, int] | None:
    """(scheme, host, port); None for what is no address of a web server."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    if not parts.hostname or parts.username is not None:
        return None
    return parts.scheme, parts.hostname, port


def _host_of(header: bytes) -> str | None:
    """The name in a Host header, without its port; None if there is none."""
    text = header.decode("latin-1").strip()
    split = _split(f"http://{text}")
    if split is None or any(character in text for character in "/?#@\\"):
        return None
    return split[1].removesuffix(".")


def _is_served(host: str | None, http: HttpConfig) -> bool:
    if host is None:
        return False
    # Browsers resolve names below .localhost themselves (RFC 6761): nobody can own one.
    if is_loopback(host) or host.endswith(".localhost"):
        return True
    public = _split(http.public_url) if http.public_url is not None else None
    return host == http.host.strip("[]").lower() or (public is not None and host == public[1])
