"""Knocks at every port of some pods, without any token: `python stranger.py ADDRESS…`, in a pod.

Prints, as JSON, what came back: address -> port -> what was asked -> the answer's code. It needs
nothing but Python and grpc.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
import threading

import grpc  # type: ignore[import-untyped]

PATHS = (
    ("GET", "/api/version"),
    ("GET", "/api/jobs/"),
    ("GET", "/api/v0/actors"),
    ("GET", "/api/serve/applications/"),
    ("GET", "/nodes?view=summary"),
    ("GET", "/logs"),
    ("GET", "/v1/collections"),
    ("POST", "/get_or_create_runtime_env"),
    ("POST", "/api/jobs/"),
)
METHODS = (
    "ray.rpc.InternalKVGcsService/InternalKVKeys",
    "ray.rpc.JobInfoGcsService/GetAllJobInfo",
    "ray.rpc.NodeManagerService/GetNodeStats",
    "ray.rpc.ObjectManagerService/Pull",
    "ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "ray.rpc.RayletDriver/KVList",
    "ray.rpc.RayletDriver/ListNamedActors",
    "ray.rpc.ReporterService/GetTraceback",
    "ray.rpc.LogService/ListLogs",
    "ray.serve.ASGIService/HandleRequest",
)
_METRICS = ("text/plain; version=", "application/openmetrics-text")
_AT_ONCE = 2000
_SECONDS = 3.0


async def open_ports(address: str) -> list[int]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def listens(port: int) -> bool:
        async with gate:
            try:
                opening = asyncio.open_connection(address, port)
                _, writer = await asyncio.wait_for(opening, _SECONDS)
            except (OSError, TimeoutError):
                return False
            writer.close()
            return True

    ports = range(1, 65536)
    found = await asyncio.gather(*map(listens, ports))
    return [port for port, there in zip(ports, found, strict=True) if there]


def by_http(address: str, port: int, method: str, path: str) -> str:
    connection = http.client.HTTPConnection(address, port, timeout=_SECONDS)
    try:
        connection.request(method, path, b"{}" if method == "POST" else None)
        answer = connection.getresponse()
        # Exporters of metrics answer with them wherever they are asked.
        exports = (answer.getheader("Content-Type") or "").startswith(_METRICS)
        return "metrics" if exports else str(answer.status)
    except (OSError, http.client.HTTPException):
        return "no HTTP"
    finally:
        connection.close()


def by_grpc(address: str, port: int) -> dict[str, str]:
    answers: dict[str, str] = {}
    with grpc.insecure_channel(f"{address}:{port}") as channel:
        for method in METHODS:
            try:
                channel.unary_unary(f"/{method}")(b"", timeout=_SECONDS)
                answers[method] = "OK"
            except grpc.RpcError as error:
                answers[method] = error.code().name
            if set(answers.values()) == {"UNAVAILABLE"}:
                return {"gRPC": "UNAVAILABLE"}
    return answers


def knock(address: str, port: int) -> dict[str, str]:
    asked = {f"{method} {path}": by_http(address, port, method, path) for method, path in PATHS}
    return asked | by_grpc(address, port)


def main(addresses: list[str]) -> None:
    found: dict[str, dict[int, dict[str, str]]] = {}
    for address in addresses:
        ports = asyncio.run(open_ports(address))
        found[address] = {}

        def note(
            port: int, into: dict[int, dict[str, str]] = found[address], at: str = address
        ) -> None:
            into[port] = knock(at, port)

        threads = [threading.Thread(target=note, args=(port,)) for port in ports]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
