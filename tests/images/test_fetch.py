from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_crds.config import FetchPolicy
from lookalike_serving.images import ImageError, ImageFetcher
from lookalike_serving.images.fetch import checked_url

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """A real HTTP server on loopback; `answers` maps a path to what it does."""

    port: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    connections: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(request)
            await self.answers[request.split()[1]](request, writer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def serve(self, path: str, body: bytes, status: str = "200 OK", **headers: str) -> str:
        async def answer(_: str, writer: asyncio.StreamWriter) -> None:
            lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
            lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

        self.answers[path] = answer
        return self.url(path)

    def raw(self, path: str, *parts: bytes, then_wait: bool = False) -> str:
        async def answer(_: str, writer: asyncio.StreamWriter) -> None:
            for part in parts:
                writer.write(part)
            await writer.drain()
            if then_wait:
                await asyncio.Event().wait()

        self.answers[path] = answer
        return self.url(path)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()


@pytest.fixture
async def fetcher_of() -> AsyncIterator[Callable[..., ImageFetcher]]:
    """fetcher_of(**policy): one that may reach loopback, unless the policy says otherwise."""
    made: list[ImageFetcher] = []

    def make(*, ssl_context: ssl.SSLContext | None = None, **policy) -> ImageFetcher:
        policy = {"allow_private_addresses": True, **policy}
        made.append(ImageFetcher(FetchPolicy(**policy), ssl_context=ssl_context))
        return made[-1]

    yield make
    for fetcher in made:
        await fetcher.close()


async def refused(fetcher: ImageFetcher, url: str) -> ImageError:
    with pytest.raises(ImageError) as caught:
        await fetcher.fetch(url)
    return caught.value


async def test_the_bytes_come_with_their_type_and_address(server, fetcher_of):
    url = server.serve("/a.jpg?size=2", b"picture", Content_Type="image/jpeg")
    fetched = await fetcher_of().fetch(url)
    assert (fetched.data, fetched.content_type, fetched.url) == (b"picture", "image/jpeg", url)


async def test_the_host_header_is_the_name_and_not_the_checked_address(server, fetcher_of):
    server.serve("/a", b"x")
    await fetcher_of().fetch(server.url("/a", host="localhost"))
    assert f"Host: localhost:{server.port}\r\n" in server.requests[0]


async def test_proxies_of_the_environment_are_ignored(server, fetcher_of, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await fetcher_of().fetch(server.serve("/a", b"x"))).data == b"x"


# --- addresses ----------------------------------------------------------------------------

LOOPBACK_SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "0.0.0.0",
    "0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
]


@pytest.mark.parametrize("host", LOOPBACK_SPELLINGS)
async def test_loopback_is_refused_however_it_is_spelt(host, server, fetcher_of):
    server.serve("/a", b"secret")
    error = await refused(fetcher_of(allow_private_addresses=False), server.url("/a", host=host))
    assert error.code in {"forbidden_address", "unreachable", "bad_reference"}
    assert server.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://10.0.0.1/",
        "http://192.168.0.1/",
        "http://[fe80::1]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:7f00:1::]/",
        "http://224.0.0.1/",
        "http://168.63.129.16/",
    ],
)
async def test_addresses_inside_are_refused(url, fetcher_of):
    error = await refused(fetcher_of(allow_private_addresses=False), url)
    assert error.code == "forbidden_address"
    assert url in error.message
    assert "allowed_hosts" in error.message


async def test_the_error_does_not_tell_what_a_name_resolves_to(server, fetcher_of):
    error = await refused(
        fetcher_of(allow_private_addresses=False), server.url("/a", host="localhost")
    )
    assert "127.0.0.1" not in error.message
    assert "::1" not in error.message


async def test_an_allowed_host_is_exempt(server, fetcher_of):
    server.serve("/a", b"x")
    fetcher = fetcher_of(allow_private_addresses=False, allowed_hosts=("LocalHost",))
    assert (await fetcher.fetch(server.url("/a", host="localhost"))).data == b"x"


async def test_an_allowed_host_exempts_no_other_name_of_its_address(server, fetcher_of):
    fetcher = fetcher_of(allow_private_addresses=False, allowed_hosts=("localhost",))
    assert (await refused(fetcher, server.url("/a"))).code == "forbidden_address"


async def test_a_redirect_inside_is_refused(server, fetcher_of):
    server.serve("/inside", b"secret")
    url = server.serve("/out", b"", "302 Found", Location=server.url("/inside"))
    fetcher = fetcher_of(allow_private_addresses=False, allowed_hosts=("localhost",))
    error = await refused(fetcher, url.replace("127.0.0.1", "localhost"))
    assert error.code == "forbidden_address"
    assert len(server.requests) == 1


async def test_a_name_that_changes_its_address_is_asked_once(server, fetcher_of, monkeypatch):
    """DNS rebinding: public when it is checked, loopback when it is connected to."""
    server.serve("/a", b"secret")
    asked = []

    async def getaddrinfo(host, port, **_):
        asked.append(host)
        address = "198.51.101.7" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    fetcher = fetcher_of(allow_private_addresses=False, timeout_seconds=0.3)
    error = await refused(fetcher, server.url("/a", host="rebinding.example"))
    assert error.code in {"timeout", "unreachable"}
    assert asked[0] == "rebinding.example"
    assert all(host == "198.51.101.7" for host in asked[1:])
    assert server.connections == 0


async def test_of_several_addresses_only_public_ones_are_tried(server, fetcher_of, monkeypatch):
    server.serve("/a", b"secret")

    async def getaddrinfo(host, port, **_):
        addresses = ["127.0.0.1", "198.51.101.7"] if host == "mixed.example" else [host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    fetcher = fetcher_of(allow_private_addresses=False, timeout_seconds=0.3)
    await refused(fetcher, server.url("/a", host="mixed.example"))
    assert server.connections == 0


async def test_a_second_address_is_tried_where_the_first_is_dead(server, fetcher_of, monkeypatch):
    server.serve("/a", b"x")

    async def getaddrinfo(host, port, **_):
        # ::1 on this port: nobody listens there.
        addresses = ["::1", "127.0.0.1"] if host == "two.example" else [host]
        return [
            (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port))
            for a in addresses
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    assert (await fetcher_of().fetch(server.url("/a", host="two.example"))).data == b"x"


# --- URLs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.com/a.jpg", "forbidden_scheme"),
        ("file:///etc/passwd", "forbidden_scheme"),
        ("gopher://127.0.0.1:6379/_INFO", "forbidden_scheme"),
        ("/local/path.jpg", "forbidden_scheme"),
        ("http://user:password@example.com/a.jpg", "bad_reference"),
        ("http://user@example.com/a.jpg", "bad_reference"),
        ("http:///a.jpg", "bad_reference"),
        ("http://exa mple.com/", "unreachable"),
        ("http://example.com:99999/", "bad_reference"),
        ("http://[::1/", "bad_reference"),
    ],
)
async def test_urls_that_cannot_be_fetched_say_why(url, code, fetcher_of):
    assert (await refused(fetcher_of(), url)).code == code


async def test_a_password_is_never_repeated(fetcher_of):
    error = await refused(fetcher_of(), "http://user:hunter2@example.com/a.jpg")
    assert "hunter2" not in error.message


async def test_a_signature_in_the_query_is_never_repeated(server, fetcher_of):
    url = server.serve("/a?sig=hunter2", b"", "403 Forbidden")
    assert "hunter2" not in (await refused(fetcher_of(), url)).message


async def test_http_is_refused_where_the_policy_names_https_alone(server, fetcher_of):
    error = await refused(fetcher_of(schemes=("https",)), server.serve("/a", b"x"))
    assert error.code == "forbidden_scheme"
    assert "https://" in error.message


async def test_a_redirect_to_another_scheme_is_refused(server, fetcher_of):
    url = server.serve("/a", b"", "302 Found", Location="file:///etc/passwd")
    assert (await refused(fetcher_of(), url)).code == "forbidden_scheme"


# --- redirects and statuses ---------------------------------------------------------------


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 T", "308 P"])
async def test_redirects_are_followed(status, server, fetcher_of):
    server.serve("/new/b", b"moved")
    fetched = await fetcher_of().fetch(server.serve("/old/a", b"", status, Location="../new/b"))
    assert (fetched.data, fetched.url) == (b"moved", server.url("/new/b"))


async def test_redirects_are_counted(server, fetcher_of):
    for i in range(3):
        server.serve(f"/{i}", b"", "302 Found", Location=f"/{i + 1}")
    server.serve("/3", b"end")
    assert (await fetcher_of(max_redirects=3).fetch(server.url("/0"))).data == b"end"
    error = await refused(fetcher_of(max_redirects=2), server.url("/0"))
    assert error.code == "too_many_redirects"


async def test_a_redirect_in_a_circle_ends(server, fetcher_of):
    url = server.serve("/a", b"", "302 Found", Location="/a")
    assert (await refused(fetcher_of(), url)).code == "too_many_redirects"
    assert len(server.requests) == 6


@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden", "500 Oops", "204 None"])
async def test_other_statuses_are_named(status, server, fetcher_of):
    error = await refused(fetcher_of(), server.serve("/a.jpg", b"", status))
    assert error.code == "http_status"
    assert status[:3] in error.message
    assert server.url("/a.jpg") in error.message


# --- size and time ------------------------------------------------------------------------


async def test_a_stated_size_above_the_cap_is_not_read(server, fetcher_of):
    url = server.raw("/a", b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", then_wait=True)
    assert (await refused(fetcher_of(max_bytes=1024), url)).code == "too_large"


async def test_the_cap_is_enforced_while_reading(server, fetcher_of):
    sent = 0

    async def endless(_: str, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            sent += 4096
            await writer.drain()

    server.answers["/a"] = endless
    error = await refused(fetcher_of(max_bytes=100_000), server.url("/a"))
    assert error.code == "too_large"
    assert sent < 50_000_000


async def test_a_body_of_exactly_the_cap_is_taken(server, fetcher_of):
    url = server.serve("/a", b"x" * 2048)
    assert len((await fetcher_of(max_bytes=2048).fetch(url)).data) == 2048
    assert (await refused(fetcher_of(max_bytes=2047), url)).code == "too_large"


async def test_compression_nobody_asked_for_is_undone(server, fetcher_of):
    url = server.serve("/a", gzip.compress(b"picture"), Content_Encoding="gzip")
    assert (await fetcher_of().fetch(url)).data == b"picture"


async def test_a_compression_bomb_is_not_unpacked(server, fetcher_of):
    url = server.serve("/a", gzip.compress(b"\0" * 50_000_000), Content_Encoding="gzip")
    assert (await refused(fetcher_of(max_bytes=100_000), url)).code == "too_large"


async def test_an_unknown_content_encoding_is_refused(server, fetcher_of):
    url = server.serve("/a", b"x", Content_Encoding="zstd")
    assert (await refused(fetcher_of(), url)).code == "unreachable"


async def test_an_empty_body_is_refused(server, fetcher_of):
    assert (await refused(fetcher_of(), server.serve("/a", b""))).code == "empty"


async def test_a_body_cut_short_is_not_taken_for_the_whole(server, fetcher_of):
    url = server.raw("/a", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
    assert (await refused(fetcher_of(), url)).code == "unreachable"


async def test_an_answer_that_is_not_http_is_refused(server, fetcher_of):
    url = server.raw("/a", b"SSH-2.0-OpenSSH_9.2\r\n")
    assert (await refused(fetcher_of(), url)).code == "unreachable"


async def test_the_total_time_is_capped(server, fetcher_of):
    async def trickle(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")  # always something before any one read times out
            await writer.drain()
            await asyncio.sleep(0.02)

    server.answers["/a"] = trickle
    start = time.monotonic()
    error = await refused(fetcher_of(timeout_seconds=0.3), server.url("/a"))
    assert error.code == "timeout"
    assert "0.3 seconds" in error.message
    assert time.monotonic() - start < 30


async def test_nobody_listening_is_said(fetcher_of):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = await refused(fetcher_of(), f"http://127.0.0.1:{taken.getsockname()[1]}/a")
    assert error.code == "unreachable"
    assert "connection refused" in error.message


async def test_an_unknown_name_is_said(fetcher_of):
    error = await refused(fetcher_of(), "http://no-such-host.invalid/a")
    assert error.code == "unreachable"
    assert "host name is not known" in error.message


async def test_many_at_once_do_not_mix_their_answers(server, fetcher_of):
    fetcher = fetcher_of()
    urls = [server.serve(f"/{i}", b"%d" % i * 1000) for i in range(40)]
    fetched = await asyncio.gather(*(fetcher.fetch(url) for url in urls))
    assert [f.data for f in fetched] == [b"%d" % i * 1000 for i in range(40)]


# --- TLS ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> tuple[str, str]:
    """(certificate, key) of `localhost`, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-keyout key.pem -out cert.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return str(folder / "cert.pem"), str(folder / "key.pem")


@pytest.fixture
async def tls_server(certificate) -> AsyncIterator[Server]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    server = Server()
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()


async def test_tls_verifies_the_name_although_the_address_is_connected_to(
    tls_server, certificate, fetcher_of
):
    tls_server.serve("/a", b"secure")
    trusting = fetcher_of(ssl_context=ssl.create_default_context(cafile=certificate[0]))
    url = tls_server.url("/a", host="localhost", scheme="https")
    assert (await trusting.fetch(url)).data == b"secure"
    error = await refused(trusting, tls_server.url("/a", host="127.0.0.1", scheme="https"))
    assert "certificate is not valid" in error.message


async def test_an_unknown_authority_is_refused(tls_server, fetcher_of):
    tls_server.serve("/a", b"secure")
    error = await refused(fetcher_of(), tls_server.url("/a", host="localhost", scheme="https"))
    assert error.code == "unreachable"
    assert "certificate is not valid" in error.message


# --- addresses that are none -----------------------------------------------------------------

NO_HOSTS = ["xn--", "xn--a", "xn--bücher", "\u2488com", "[::1", "xn--" + "a" * 80, "\ud800"]


@pytest.mark.parametrize("host", NO_HOSTS)
async def test_a_host_that_idna_refuses_is_a_bad_reference(host, server, fetcher_of):
    error = await refused(fetcher_of(), f"http://{host}/a.jpg")
    assert error.code == "bad_reference"


@pytest.mark.parametrize("host", ["xn--", "xn--a", "[::1"])
async def test_a_redirect_to_such_a_host_is_one_too(host, server, fetcher_of):
    url = server.serve("/a", b"", "302 Found", Location=f"http://{host}/a.jpg")
    error = await refused(fetcher_of(), url)
    assert error.code == "bad_reference"
    assert "a redirect of" in error.message


@given(st.text(st.sampled_from("xn--:/.@[]%é\u3002\x00 a1\ud800") | st.characters(), max_size=30))
def test_any_text_is_an_address_or_an_image_error(text):
    for url in (text, f"http://{text}/a.jpg", f"https://a.example/{text}"):
        try:
            parsed = checked_url(url, ("http", "https"))
        except ImageError:
            continue
        assert parsed.host
        assert parsed.raw_path.startswith(b"/")
