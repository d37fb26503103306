"""The configuration of the operator: flags, or the environment variables of the same names.

`--serving-image` is `LOOKALIKE_SERVING_IMAGE`, and so on; a flag has precedence. Errors are
reported before anything starts.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lookalike_operator.plan import model
from lookalike_operator.plan.addresses import address_entry_problem
from lookalike_operator.plan.promql import Queries

_PREFIX = "LOOKALIKE_"
_SERVICE_ACCOUNT_NAMESPACE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds, as in client-go: a leader that could not renew for `renew` stops, long before
    others may take over after `duration`."""

    duration: float = 15.0
    renew: float = 10.0
    retry: float = 2.0


@dataclass(frozen=True, slots=True)
class MarkTimes:
    """Seconds, for the marks of a release on namespaces (engine/namespaces.py)."""

    look: float = 15.0
    trust: float = 40.0
    answer: float = 60.0
    ask: float = 30.0


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    plan: model.Settings
    """What plans depend on."""
    namespaces: tuple[str, ...] = ()
    """Empty: the whole cluster."""
    kubeconfig: str | None = None
    context: str | None = None
    prometheus_url: str | None = None
    prometheus_queries: Queries = Queries.OWN_NAMESPACE
    workers: int = 8
    resync_seconds: float = 600.0
    drain_seconds: float = 20.0
    leader_election: bool = True
    leader_election_namespace: str = "default"
    lease: LeaseTimes = LeaseTimes()
    marks: MarkTimes = MarkTimes()
    metrics_host: str = "0.0.0.0"
    metrics_port: int = 8080
    log_level: str = "INFO"
    log_format: str = "json"


def parse(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None
) -> OperatorSettings:
    """Ends the process with a message if something is wrong (argparse)."""
    env = os.environ if environment is None else environment
    parser = _parser(env)
    given = parser.parse_args(arguments)
    # argparse would add what is given to a default.
    named = env.get(f"{_PREFIX}NAMESPACES", "").replace(",", " ").split()
    if not given.serving_image:
        parser.error(
            "--serving-image (or LOOKALIKE_SERVING_IMAGE) is required: the image that "
            "serving and ingestion pods run"
        )
    if given.leader_election and not given.leader_election_namespace:
        parser.error(
            "--leader-election-namespace (or LOOKALIKE_LEADER_ELECTION_NAMESPACE) is required "
            "outside of a cluster, unless you give --no-leader-election"
        )
    addresses = tuple(given.qdrant_addresses.replace(",", " ").split())
    for problem in filter(None, map(address_entry_problem, addresses)):
        parser.error(f"--qdrant-addresses (or LOOKALIKE_QDRANT_ADDRESSES): {problem}")
    return OperatorSettings(
        plan=model.Settings(
            serving_image=given.serving_image,
            image_pull_policy=given.image_pull_policy,
            cluster_domain=given.cluster_domain,
            ray_version=given.ray_version,
            pod_policy=given.pod_policy,
            ray_network_policy=given.ray_network_policy,
            kuberay_namespace=given.kuberay_namespace,
            qdrant_addresses=addresses,
        ),
        namespaces=tuple(dict.fromkeys(given.namespace or named)),
        kubeconfig=given.kubeconfig,
        context=given.context,
        prometheus_url=given.prometheus_url,
        prometheus_queries=Queries(given.prometheus_queries),
        workers=given.workers,
        resync_seconds=given.resync_seconds,
        drain_seconds=given.drain_seconds,
        leader_election=given.leader_election,
        leader_election_namespace=given.leader_election_namespace or "",
        metrics_host=given.metrics_host,
        metrics_port=given.metrics_port,
        log_level=given.log_level,
        log_format=given.log_format,
    )


def _parser(env: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lookalike-operator",
        description="Creates what ImageCollections and Retrievers ask for.",
        epilog="Each flag can also be set by an environment variable: --serving-image is "
        "LOOKALIKE_SERVING_IMAGE.",
    )
    defaults = model.Settings(serving_image="")

    def add(flag: str, help: str, **options: object) -> None:
        name = _PREFIX + flag.removeprefix("--").replace("-", "_").upper()
        if env.get(name):
            options["default"] = env[name]
        parser.add_argument(flag, help=help, **options)  # type: ignore[arg-type]

    add("--serving-image", "image of serving and ingestion pods", default="")
    add(
        "--image-pull-policy",
        "of those pods",
        default=defaults.image_pull_policy,
        choices=("Always", "IfNotPresent", "Never"),
    )
    add("--ray-version", "version of Ray in that image", default=defaults.ray_version)
    add("--cluster-domain", "DNS domain of the cluster", default=defaults.cluster_domain)
    add(
        "--pod-policy",
        "what podTemplate and rayCluster may contain: only what the restricted pod security "
        "standard allows, or anything",
        type=model.PodPolicy,
        default=defaults.pod_policy,
        choices=tuple(model.PodPolicy),
    )
    _switch(
        parser,
        env,
        "--ray-network-policy",
        "create a NetworkPolicy for every Ray cluster",
        default=defaults.ray_network_policy,
    )
    add(
        "--kuberay-namespace",
        "namespace of KubeRay's operator; required for that NetworkPolicy",
        default=None,
    )
    parser.add_argument(
        "--namespace",
        action="append",
        help="watch only this namespace; may be repeated (LOOKALIKE_NAMESPACES: a list with "
        "commas); default: the whole cluster",
    )
    add(
        "--kubeconfig", "path of a kubeconfig; default: the ServiceAccount of the pod", default=None
    )
    add("--context", "context of the kubeconfig", default=None)
    add(
        "--prometheus-url",
        "address of Prometheus for autoscaling, such as http://prometheus:9090",
        default=None,
    )
    add(
        "--prometheus-queries",
        "which series the autoscaling queries in resources may select: those of their own "
        "namespace, or any",
        default=Queries.OWN_NAMESPACE.value,
        choices=tuple(each.value for each in Queries),
    )
    add(
        "--qdrant-addresses",
        "Qdrant servers that collections may name in addition to Services of their own "
        "namespace: hosts, *.domains, IP addresses, CIDRs, or * for any; a list with commas",
        default="",
    )
    add(
        "--workers",
        "number of resources that are reconciled concurrently",
        type=_positive(int),
        default=8,
    )
    add(
        "--resync-seconds",
        "interval at which every resource is reconciled, in seconds",
        type=_positive(float),
        default=600.0,
    )
    add(
        "--drain-seconds",
        "time in which running reconciles may finish at the end, in seconds",
        type=_positive(float),
        default=20.0,
    )
    _switch(
        parser,
        env,
        "--leader-election",
        "let only one of several operators be active",
        default=True,
    )
    add(
        "--leader-election-namespace",
        "namespace of the Lease; default: that of the pod",
        default=env.get("POD_NAMESPACE") or _own_namespace(),
    )
    add("--metrics-host", "address of /metrics, /healthz and /readyz", default="0.0.0.0")
    add("--metrics-port", "port of the same address", type=int, default=8080)
    add(
        "--log-level",
        "of the log",
        default="INFO",
        type=str.upper,
        choices=("DEBUG", "INFO", "WARNING", "ERROR"),
    )
    add("--log-format", "of the log", default="json", choices=("json", "text"))
    return parser


def _switch(
    parser: argparse.ArgumentParser, env: Mapping[str, str], flag: str, help: str, *, default: bool
) -> None:
    """`--flag`, `--no-flag`, and the variable."""
    name = _PREFIX + flag.removeprefix("--").replace("-", "_").upper()
    said = env.get(name, "").lower() or str(default).lower()
    if said not in _TRUE | _FALSE:
        parser.error(f"{name} is {said!r}: write true or false")
    parser.add_argument(
        flag, action=argparse.BooleanOptionalAction, default=said in _TRUE, help=f"{help} ({name})"
    )


def _positive(number: type[int] | type[float]) -> object:
    def parse(text: str) -> float:
        value = number(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text} is not above zero")
        return value

    return parse


def _own_namespace() -> str:
    try:
        with open(_SERVICE_ACCOUNT_NAMESPACE, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""
