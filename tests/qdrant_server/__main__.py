"""`python -m tests.qdrant_server`: see the package and its README."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path

from tests.qdrant_server.server import Ports, serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.qdrant_server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--http-port", type=int, default=6333, help="0: any free one")
    parser.add_argument("--grpc-port", type=int, default=6334, help="0: any free one")
    parser.add_argument("--api-key", help="refuse calls without it")
    parser.add_argument("--version", help="play an older server, such as 1.19.0")
    parser.add_argument("--ready-file", type=Path, help="written with both ports once they answer")
    given = parser.parse_args()

    def ready(ports: Ports) -> None:
        print(f"http://{given.host}:{ports.http}, gRPC on port {ports.grpc}", flush=True)
        if given.ready_file is not None:
            # Whole or not at all: somebody waits for it.
            half = given.ready_file.with_suffix(".half")
            half.write_text(json.dumps(asdict(ports)))
            os.replace(half, given.ready_file)

    asyncio.run(
        serve(
            given.host,
            given.http_port,
            given.grpc_port,
            api_key=given.api_key,
            version=given.version,
            ready=ready,
        )
    )


if __name__ == "__main__":
    main()
