"""Flags and their environment variables."""

from __future__ import annotations

import pytest

from lookalike_operator.plan.promql import Queries
from lookalike_operator.settings import OperatorSettings, parse


def test_everything_can_come_from_the_environment_and_a_flag_wins() -> None:
    environment = {
        "LOOKALIKE_SERVING_IMAGE": "env:1",
        "LOOKALIKE_NAMESPACES": "a, b",
        "LOOKALIKE_WORKERS": "3",
        "LOOKALIKE_LEADER_ELECTION": "false",
        "LOOKALIKE_METRICS_PORT": "9090",
        "LOOKALIKE_LOG_LEVEL": "debug",
        "LOOKALIKE_PROMETHEUS_URL": "http://p:9090",
        "LOOKALIKE_IMAGE_PULL_POLICY": "Never",
        "LOOKALIKE_PROMETHEUS_QUERIES": "Any",
        "LOOKALIKE_QDRANT_ADDRESSES": "qdrant.search.svc, 10.0.0.0/8",
    }
    settings = parse(["--serving-image", "flag:2"], environment)
    assert settings.plan.serving_image == "flag:2"
    assert settings.plan.image_pull_policy == "Never"
    assert settings.namespaces == ("a", "b")
    assert settings.workers == 3
    assert not settings.leader_election
    assert settings.metrics_port == 9090
    assert settings.log_level == "DEBUG"
    assert settings.prometheus_url == "http://p:9090"
    assert settings.prometheus_queries is Queries.ANY
    assert settings.plan.qdrant_addresses == ("qdrant.search.svc", "10.0.0.0/8")


def test_namespaces_on_the_command_line_replace_those_of_the_environment() -> None:
    environment = {"LOOKALIKE_NAMESPACES": "a", "POD_NAMESPACE": "system"}
    arguments = ["--serving-image", "x", "--namespace", "b", "--namespace", "c"]
    assert parse(arguments, environment).namespaces == ("b", "c")


def test_the_lease_is_in_the_namespace_of_the_pod() -> None:
    settings = parse(["--serving-image", "x"], {"POD_NAMESPACE": "system"})
    assert settings.leader_election
    assert settings.leader_election_namespace == "system"


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {}, "--serving-image (or LOOKALIKE_SERVING_IMAGE) is required"),
        (["--serving-image", "x"], {}, "--leader-election-namespace"),
        (
            ["--serving-image", "x", "--qdrant-addresses", "a b!"],
            {"POD_NAMESPACE": "x"},
            "'b!' is not a host, *.domain",
        ),
        (["--serving-image", "x", "--workers", "0"], {}, "0 is not above zero"),
        (["--serving-image", "x"], {"LOOKALIKE_LEADER_ELECTION": "maybe"}, "write true or false"),
        (["--serving-image", "x", "--log-level", "loud"], {}, "invalid choice"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    environment: dict[str, str],
    message: str,
) -> None:
    with pytest.raises(SystemExit):
        parse(arguments, environment)
    assert message in capsys.readouterr().err


def test_leases_by_default_leave_time_between_the_last_write_and_the_next_leader() -> None:
    settings = parse(["--serving-image", "x"], {"POD_NAMESPACE": "system"})
    assert isinstance(settings, OperatorSettings)
    assert settings.lease.retry < settings.lease.renew < settings.lease.duration
