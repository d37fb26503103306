"""Listing buckets of Google and Azure: obstore beside each service's own client.

    python bench/service_listings.py [--keys 100000]

A server on loopback makes up the answers, a page at a time, as each service writes them (obstore
asks Google for XML, Google's own client for JSON). Each client has a fresh process. The client's
own CPU time is what to compare: a real service takes 50 to 200 ms for a page.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import multiprocessing
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from urllib.parse import parse_qs, urlsplit

BUCKET = "bench"
PAGES = {"gs": 1000, "az": 5000}
TIME, RFC_1123 = "2026-01-31T12:00:00.000Z", "Sat, 31 Jan 2026 12:00:00 GMT"
DIGEST = "1B2M2Y8AsgTpgAmY7PhCfg=="
_OURS = "lookalike_serving.images.buckets"
_KEYS = 0


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.startswith("/storage/"):
            kind, body = "application/json", google_json(int(asked.get("pageToken", 0)))
        elif "comp" in asked:
            kind, body = "application/xml", azure_xml(int(asked.get("marker", 0)))
        else:
            kind, body = "application/xml", google_xml(int(asked.get("continuation-token", 0)))
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def page(start: int, size: int) -> tuple[range, str]:
    """The numbers of a page, and the token of the next one."""
    end = min(start + size, _KEYS)
    return range(start, end), str(end) if end < _KEYS else ""


def google_json(start: int) -> bytes:
    numbers, token = page(start, PAGES["gs"])
    facts = {"size": "0", "updated": TIME, "etag": "CKih16GjycICEAE=", "md5Hash": DIGEST}
    items = [{"name": f"many/{n:08}.jpg", **facts} for n in numbers]
    return json.dumps({"items": items, **({"nextPageToken": token} if token else {})}).encode()


def google_xml(start: int) -> bytes:
    numbers, token = page(start, PAGES["gs"])
    found = "".join(
        f"<Contents><Key>many/{n:08}.jpg</Key><LastModified>{TIME}</LastModified>"
        '<ETag>"d41d8cd98f00b204e9800998ecf8427e"</ETag><Size>0</Size></Contents>'
        for n in numbers
    )
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    truncated = str(bool(token)).lower()
    return (
        f"<ListBucketResult><Name>{BUCKET}</Name><IsTruncated>{truncated}</IsTruncated>"
        f"{more}{found}</ListBucketResult>"
    ).encode()


def azure_xml(start: int) -> bytes:
    numbers, token = page(start, PAGES["az"])
    found = "".join(
        f"<Blob><Name>many/{n:08}.jpg</Name><Properties><Last-Modified>{RFC_1123}</Last-Modified>"
        "<Etag>0x8CBFF45D8A29A19</Etag><Content-Length>0</Content-Length>"
        "<Content-Type>image/jpeg</Content-Type><BlobType>BlockBlob</BlobType>"
        "<AccessTier>Hot</AccessTier></Properties></Blob>"
        for n in numbers
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?><EnumerationResults>'
        f"<Blobs>{found}</Blobs><NextMarker>{token}</NextMarker></EnumerationResults>"
    ).encode()


def serve(ready: Connection, keys: int) -> None:
    global _KEYS
    _KEYS = keys
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    ready.send(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()


def with_obstore(scheme: str, url: str) -> int:
    import obstore
    from obstore.store import AzureStore, GCSStore

    plain = {"client_options": {"allow_http": True}, "skip_signature": True}
    store: AzureStore | GCSStore
    if scheme == "gs":
        store = GCSStore(BUCKET, base_url=url, **plain)  # type: ignore[arg-type]
    else:
        store = AzureStore(BUCKET, account_name="shop", endpoint=url, **plain)  # type: ignore[arg-type]
    return sum(len(found) for found in obstore.list(store, "many", chunk_size=PAGES[scheme]))


def with_own_client(scheme: str, url: str) -> int:
    """As ingestion lists."""
    from lookalike_crds.buckets import Bucket
    from lookalike_serving.images.buckets import open_store

    where = Bucket.model_validate(
        {"scheme": scheme, "name": BUCKET, "account": "shop", "endpoint": url}
    )

    async def count() -> int:
        return sum([len(found) async for found in open_store(where).list("many/")])

    return asyncio.run(count())


CLIENTS = {"obstore": with_obstore, "the service's own": with_own_client}


def measure(name: str, scheme: str, url: str, keys: int, to: Connection) -> None:
    os.environ["AZURE_STORAGE_SAS_TOKEN"] = "sv=2021-08-06&se=2999-01-02&sig=abc"
    for module in ("obstore.store", *(f"{_OURS}.{each}" for each in ("gcs", "azure"))):
        importlib.import_module(module)
    wall, cpu = time.perf_counter(), time.process_time()
    found = CLIENTS[name](scheme, url)
    to.send((time.perf_counter() - wall, time.process_time() - cpu))
    assert found == keys, (name, scheme, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, default=100_000)
    given = parser.parse_args()
    fresh = multiprocessing.get_context("spawn")
    ours, theirs = fresh.Pipe()
    server = fresh.Process(target=serve, args=(theirs, given.keys), daemon=True)
    server.start()
    url = ours.recv()
    print(f"{given.keys:,} keys")
    print("| | client | keys/s | CPU µs/key |")
    print("|---|---|---|---|")
    try:
        for scheme, service in (("gs", "Google"), ("az", "Azure")):
            for name in CLIENTS:
                to, told = fresh.Pipe()
                client = fresh.Process(target=measure, args=(name, scheme, url, given.keys, told))
                client.start()
                client.join()
                if client.exitcode:
                    continue
                wall, cpu = to.recv()
                print(
                    f"| {service} | {name} | {given.keys / wall:,.0f} "
                    f"| {cpu / given.keys * 1e6:.1f} |"
                )
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
