"""What people write into podTemplate, merged as Kubernetes merges."""

from __future__ import annotations

from lookalike_operator.plan.pod_template import merged, with_pod_template

BASE = {
    "metadata": {"labels": {"app": "ours"}},
    "spec": {
        "containers": [
            {
                "name": "serving",
                "image": "ours",
                "args": ["--config", "a"],
                "env": [{"name": "HOME", "value": "/tmp"}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                "resources": {"requests": {"cpu": "1"}},
            }
        ],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "tolerations": [{"key": "a"}],
    },
}


def _spec(override: dict[str, object]) -> dict[str, object]:
    return dict(with_pod_template(BASE, {"spec": override}, {"app": "ours"})["spec"])


def test_a_container_of_our_name_is_merged_and_another_is_added() -> None:
    spec = _spec(
        {"containers": [{"name": "serving", "image": "theirs"}, {"name": "sidecar", "image": "s"}]}
    )
    first, second = spec["containers"]  # type: ignore[misc]
    assert (first["image"], first["args"]) == ("theirs", ["--config", "a"])
    assert second["name"] == "sidecar"


def test_variables_and_mounts_are_added_by_name_and_path() -> None:
    spec = _spec(
        {
            "containers": [
                {
                    "name": "serving",
                    "env": [
                        {"name": "HOME", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
                        {"name": "HF_HOME", "value": "/models"},
                    ],
                    "volumeMounts": [{"name": "models", "mountPath": "/models"}],
                }
            ]
        }
    )
    container = spec["containers"][0]  # type: ignore[index]
    # Named again, replaced whole: a value and a source together would be refused.
    assert container["env"][0] == {"name": "HOME", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}
    assert [e["name"] for e in container["env"]] == ["HOME", "HF_HOME"]
    assert [m["mountPath"] for m in container["volumeMounts"]] == ["/data", "/models"]


def test_a_volume_of_our_name_is_replaced_whole() -> None:
    spec = _spec({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}]})
    assert spec["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}]


def test_other_lists_are_replaced_and_null_removes() -> None:
    spec = _spec({"tolerations": [{"key": "b"}], "volumes": None})
    assert spec["tolerations"] == [{"key": "b"}]
    assert "volumes" not in spec


def test_a_patch_can_delete_an_item_that_is_there_or_not() -> None:
    spec = _spec(
        {"volumes": [{"name": "data", "$patch": "delete"}, {"name": "no", "$patch": "delete"}]}
    )
    assert spec["volumes"] == []


def test_our_labels_stay_whatever_theirs_say_and_nothing_of_ours_is_changed_in_place() -> None:
    made = with_pod_template(
        BASE, {"metadata": {"name": "x", "labels": {"app": "theirs", "team": "t"}}}, {"app": "ours"}
    )
    assert made["metadata"] == {"labels": {"app": "ours", "team": "t"}}
    assert BASE["metadata"] == {"labels": {"app": "ours"}}


def test_worker_groups_merge_by_their_name() -> None:
    base = {"workerGroupSpecs": [{"groupName": "serving", "maxReplicas": 1000, "minReplicas": 0}]}
    over = {"workerGroupSpecs": [{"groupName": "serving", "maxReplicas": 3}]}
    assert merged(base, over)["workerGroupSpecs"] == [
        {"groupName": "serving", "maxReplicas": 3, "minReplicas": 0}
    ]


def test_a_probe_or_a_hook_does_one_thing() -> None:
    base = {
        "livenessProbe": {"httpGet": {"path": "/healthz"}, "periodSeconds": 15},
        "lifecycle": {"preStop": {"exec": {"command": ["sh"]}}},
    }
    over = {
        "livenessProbe": {"tcpSocket": {"port": 8000}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
    }
    assert merged(base, over) == {
        "livenessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 15},
        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
    }
    assert merged(base, {"livenessProbe": {"httpGet": {"port": 1}}})["livenessProbe"] == {
        "httpGet": {"path": "/healthz", "port": 1},
        "periodSeconds": 15,
    }
