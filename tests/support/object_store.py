"""A real S3 server on loopback (moto), and what tests put into it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import httpx
from moto.server import ThreadedMotoServer

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "not-a-secret"


@dataclass(frozen=True)
class S3Server:
    url: str
    client: Any
    """botocore's."""

    def bucket(self, name: str) -> str:
        self.client.create_bucket(Bucket=name)
        return name

    def put(self, bucket: str, key: str, data: bytes, **more: Any) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=data, **more)


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """Takes any credentials."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        client = botocore.session.Session().create_client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )
        # Servers of one process share what they hold.
        httpx.post(f"{url}/moto-api/reset").raise_for_status()
        yield S3Server(url, client)
    finally:
        server.stop()


def write_secret(folder: Path, name: str, **values: str) -> Path:
    """What a pod sees of a Secret; the folder of all Secrets."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    for key, value in values.items():
        (folder / name / key).write_text(value)
    return folder


def keys_of_s3(folder: Path, name: str = "keys") -> Path:
    return write_secret(folder, name, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)
