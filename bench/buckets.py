"""Clients of S3 side by side: listing many keys, and fetching many small objects.

    python bench/buckets.py [--keys 100000] [--objects 1000] [--concurrency 32]

One S3 server (moto, in a process of its own) answers all of them; each client has a fresh process.
The server is the slower part when keys are listed, so the client's own CPU time is what to compare
there: it is what a pod has left for pictures. `s3fs` is measured if it is installed; it needs an
older botocore than ours, so give it an environment of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import logging
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

BUCKET = "bench"
KEY = SECRET = "bench"
OBJECT_BYTES = 50_000


def serve(ready: Connection, keys: int, objects: int) -> None:
    """The server's process: `keys` empty objects below `many/`, and pictures below `few/`."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    backend.create_bucket(BUCKET, "us-east-1")
    for number in range(keys):
        backend.put_object(BUCKET, f"many/{number:08}.jpg", b"")
    for number in range(objects):
        backend.put_object(BUCKET, f"few/{number:08}.jpg", bytes(OBJECT_BYTES))
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    ready.send(f"http://{host}:{port}")
    ready.recv()
    server.stop()


def with_obstore(url: str, keys: list[str], concurrency: int) -> tuple[Any, Any]:
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=url,
        access_key_id=KEY,
        secret_access_key=SECRET,
        region="us-east-1",
        client_options={"allow_http": True},
    )

    def listing() -> int:
        return sum(len(page) for page in obstore.list(store, "many", chunk_size=1000))

    async def one(key: str) -> int:
        return len((await (await obstore.get_async(store, key)).bytes_async()).to_bytes())

    return listing, lambda: asyncio.run(at_once(one, keys, concurrency))


def with_botocore(url: str, keys: list[str], concurrency: int) -> tuple[Any, Any]:
    import botocore.session
    from botocore.config import Config

    client = botocore.session.Session().create_client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=Config(max_pool_connections=concurrency),
    )

    def listing() -> int:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="many/")
        return sum(len(page.get("Contents", ())) for page in pages)

    def one(key: str) -> int:
        return len(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def fetching() -> int:
        with ThreadPoolExecutor(concurrency) as threads:
            return sum(threads.map(one, keys))

    return listing, fetching


def with_s3fs(url: str, keys: list[str], concurrency: int) -> tuple[Any, Any]:
    import s3fs

    given: dict[str, Any] = {
        "key": KEY,
        "secret": SECRET,
        "client_kwargs": {"endpoint_url": url, "region_name": "us-east-1"},
    }

    def listing() -> int:
        return len(s3fs.S3FileSystem(**given).find(f"{BUCKET}/many"))

    async def fetch() -> int:
        files = s3fs.S3FileSystem(asynchronous=True, **given)
        session = await files.set_session()

        async def one(key: str) -> int:
            return len(await files._cat_file(f"{BUCKET}/{key}"))

        try:
            return await at_once(one, keys, concurrency)
        finally:
            await session.close()

    return listing, lambda: asyncio.run(fetch())


async def at_once(one: Callable[[str], Awaitable[int]], keys: list[str], concurrency: int) -> int:
    room = asyncio.Semaphore(concurrency)

    async def each(key: str) -> int:
        async with room:
            return await one(key)

    return sum(await asyncio.gather(*map(each, keys)))


CLIENTS = {"obstore": with_obstore, "botocore": with_botocore, "s3fs": with_s3fs}


def measure(name: str, url: str, keys: int, objects: int, concurrency: int, to: Connection) -> None:
    wanted = [f"few/{number:08}.jpg" for number in range(objects)]
    listing, fetching = CLIENTS[name](url, wanted, concurrency)
    figures = []
    for work, expected in ((listing, keys), (fetching, objects * OBJECT_BYTES)):
        wall, cpu = time.perf_counter(), time.process_time()
        found = work()
        figures.append((time.perf_counter() - wall, time.process_time() - cpu))
        assert found == expected, (name, found, expected)
    to.send(figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--objects", type=int, default=1_000)
    parser.add_argument("--concurrency", type=int, default=32)
    given = parser.parse_args()
    fresh = multiprocessing.get_context("spawn")
    ours, theirs = fresh.Pipe()
    server = fresh.Process(target=serve, args=(theirs, given.keys, given.objects))
    server.start()
    url = ours.recv()
    print(f"{given.keys:,} keys, {given.objects:,} objects of {OBJECT_BYTES:,} bytes")
    print("| client | listing: keys/s | CPU µs/key | fetching: objects/s | CPU µs/object |")
    print("|---|---|---|---|---|")
    try:
        for name in CLIENTS:
            if importlib.util.find_spec(name) is None:
                continue
            to, told = fresh.Pipe()
            args = (name, url, given.keys, given.objects, given.concurrency, told)
            client = fresh.Process(target=measure, args=args)
            client.start()
            client.join()
            (list_s, list_cpu), (get_s, get_cpu) = to.recv()
            print(
                f"| {name} | {given.keys / list_s:,.0f} | {list_cpu / given.keys * 1e6:.1f} "
                f"| {given.objects / get_s:,.0f} | {get_cpu / given.objects * 1e6:,.0f} |"
            )
    finally:
        ours.send(None)
        server.join()


if __name__ == "__main__":
    main()
