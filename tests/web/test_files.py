"""The page's files over HTTP: caching, compression, security headers. No browser, no model."""

from __future__ import annotations

import re

import httpx
import pytest
from fastapi import FastAPI

from lookalike_serving import web


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(web.router)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://page")


async def assets(client: httpx.AsyncClient) -> list[str]:
    page = (await client.get("/")).text
    return re.findall(r'(?:href|src)="(assets/[^"]+)"', page)


async def test_the_page_is_revalidated_and_known_to_be_unchanged(client):
    page = await client.get("/")
    assert page.headers["cache-control"] == "no-cache"
    again = await client.get("/", headers={"If-None-Match": f'W/"x", {page.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"]


async def test_its_files_are_kept_for_a_year_under_the_digest_of_all(client):
    for path in await assets(client):
        file = await client.get(path)
        assert file.status_code == 200
        assert "immutable" in file.headers["cache-control"]


async def test_every_file_a_module_imports_is_served_beside_it(client):
    (script,) = (path for path in await assets(client) if path.endswith("app.js"))
    waiting, seen = [script.rsplit("/", 1)[1]], set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        module = await client.get(script.replace("app.js", name))
        assert module.headers["content-type"].startswith("text/javascript")
        waiting += [m for m in re.findall(r'from "\./([^"]+)"', module.text) if m not in seen]
    assert {"api.js", "state.js", "results.js"} <= seen


async def test_a_tab_from_before_an_upgrade_gets_files_that_are_not_kept(client):
    file = await client.get("/assets/000000000000/app.js")
    assert (file.status_code, file.headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize(
    "name", ["nothing.js", "index.html", "..%2froutes.py", "routes.py", "%2e%2e/routes.py"]
)
async def test_nothing_but_the_pages_files_is_served(client, name):
    assert (await client.get(f"/assets/x/{name}")).status_code == 404


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_compression_changes_the_bytes_sent_not_the_file(client, encoding):
    sent = await client.get("/", headers={"Accept-Encoding": encoding})
    plain = await client.get("/", headers={"Accept-Encoding": "identity"})
    assert sent.content == plain.content
    assert (sent.headers.get("content-encoding") == "gzip") == (encoding == "gzip")


async def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere(client):
    page = await client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "require-trusted-types-for 'script'" in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", page.text)
    assert page.headers["x-content-type-options"] == "nosniff"


async def test_the_page_names_no_other_host(client):
    (script,) = (path for path in await assets(client) if path.endswith("app.js"))
    texts = [(await client.get("/")).text]
    names = ["app.css", "app.js", "api.js", "details.js", "filters.js", "query-bar.js"]
    texts += [(await client.get(script.replace("app.js", name))).text for name in names]
    for text in texts:
        hosts = re.findall(r"https?://([\w.-]+)", text)
        assert set(hosts) <= {"www.w3.org"}


async def test_head_tells_what_get_would_send(client):
    head = await client.head("/")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["etag"] == (await client.get("/")).headers["etag"]
