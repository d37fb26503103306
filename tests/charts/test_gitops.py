"""What the GitOps examples say of health, evaluated on resources as the operator leaves them."""

from __future__ import annotations

from typing import Any

import celpy
import pytest
import yaml
from celpy.adapter import json_to_cel
from chart import ROOT

GITOPS = ROOT / "examples" / "gitops"


def resource(**changes: Any) -> dict[str, Any]:
    """A healthy Retriever of generation 2. `conditions` maps type to status."""
    conditions = {"Ready": "True", "Degraded": "False", "Stalled": "False"}
    conditions |= changes.pop("conditions", {})
    seen = changes.pop("seen", 2)
    return {
        "metadata": {"generation": 2, "annotations": changes.pop("annotations", {})},
        "spec": changes,
        "status": {
            "observedGeneration": seen,
            "conditions": [
                {"type": type, "status": status, "reason": "Because", "message": f"{type} so"}
                for type, status in conditions.items()
            ],
        },
    }


CASES = {
    # name: (resource, what Flux says, what Argo CD says)
    "ready": (resource(), "current", "Healthy"),
    "amiss": (resource(conditions={"Degraded": "True"}), "current", "Healthy"),
    "on its way": (resource(conditions={"Ready": "False"}), "unknown", "Progressing"),
    "stalled": (
        resource(conditions={"Ready": "False", "Stalled": "True"}),
        "failed",
        "Degraded",
    ),
    "changed": (resource(seen=1), "inProgress", "Progressing"),
    "suspended": (
        resource(conditions={"Ready": "False"}, suspend=True),
        "unknown",
        "Suspended",
    ),
    "paused": (
        resource(annotations={"lookalike.dev/paused": "true"}),
        "current",
        "Suspended",
    ),
}


def flux_checks() -> list[dict[str, str]]:
    return [
        check
        for document in yaml.safe_load_all((GITOPS / "flux.yaml").read_text())
        for check in document["spec"].get("healthCheckExprs", ())
    ]


def flux_says(check: dict[str, str], each: dict[str, Any]) -> str:
    """In the order in which Flux asks."""
    environment = celpy.Environment()
    values = {key: json_to_cel(value) for key, value in each.items()}
    for answer in ("inProgress", "failed", "current"):
        program = environment.program(environment.compile(check[answer]))
        if program.evaluate(values):
            return answer
    return "unknown"


@pytest.mark.parametrize("case", CASES)
def test_flux_sees_the_state_of_a_resource(case: str) -> None:
    each, expected, _ = CASES[case]
    checks = flux_checks()
    assert {check["kind"] for check in checks} == {"ImageCollection", "Retriever"}
    assert [flux_says(check, each) for check in checks] == [expected, expected]


def test_flux_waits_for_a_resource_that_was_never_looked_at() -> None:
    for check in flux_checks():
        assert flux_says(check, {"metadata": {"generation": 1}, "status": {}}) == "inProgress"


def argocd_scripts() -> dict[str, str]:
    (config,) = yaml.safe_load_all((GITOPS / "argocd-health.yaml").read_text())
    data: dict[str, str] = config["data"]
    return data


def argocd_says(script: str, each: dict[str, Any]) -> dict[str, str]:
    lupa = pytest.importorskip("lupa.lua51", reason="lupa (Lua) is not installed")
    lua = lupa.LuaRuntime(unpack_returned_tuples=True)
    health = lua.execute(f"return function(obj)\n{script}\nend")
    return dict(health(lua.table_from(each, recursive=True)).items())


def test_argocd_has_the_same_script_for_both_kinds() -> None:
    scripts = argocd_scripts()
    prefix = "resource.customizations.health.lookalike.dev_"
    assert set(scripts) == {f"{prefix}ImageCollection", f"{prefix}Retriever"}
    assert len(set(scripts.values())) == 1


@pytest.mark.parametrize("case", CASES)
def test_argocd_sees_the_state_of_a_resource(case: str) -> None:
    each, _, expected = CASES[case]
    script = next(iter(argocd_scripts().values()))
    said = argocd_says(script, each)
    assert said["status"] == expected
    assert said["message"]


def test_argocd_waits_for_a_resource_that_was_never_looked_at() -> None:
    script = next(iter(argocd_scripts().values()))
    said = argocd_says(script, {"metadata": {"generation": 1}, "spec": {}})
    assert said["status"] == "Progressing"
