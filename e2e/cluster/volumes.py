"""Folders of this machine as volumes: the provisioner of the StorageClass `local`.

A claim gets a folder when its first pod has been placed, as on a cloud; folder and volume go with
the claim. The volumes are of type `local`, which honours a pod's fsGroup; a hostPath would not.

    python -m e2e.cluster.volumes --kubeconfig FILE --folder DIR
"""

from __future__ import annotations

import argparse
import shutil
import threading
import time
from pathlib import Path

from e2e.cluster.api import Api, Object, Refused

PROVISIONER = "lookalike.dev/e2e-folder"
CLASS: Object = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": "local",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": PROVISIONER,
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "WaitForFirstConsumer",
}
_CLAIMS = "/api/v1/persistentvolumeclaims"
_VOLUMES = "/api/v1/persistentvolumes"
_RESYNC_SECONDS = 30
_AGAIN_SECONDS = 1.0


def provision(api: Api, folder: Path) -> None:
    """Make the volumes that claims wait for; take away those whose claims are gone."""
    volumes = api.get(_VOLUMES)["items"]
    made = {each["metadata"]["name"] for each in volumes}
    for claim in api.get(_CLAIMS)["items"]:
        metadata, spec = claim["metadata"], claim["spec"]
        node = metadata.get("annotations", {}).get("volume.kubernetes.io/selected-node")
        name = f"pvc-{metadata['uid']}"
        waits = spec.get("storageClassName") == "local" and not spec.get("volumeName")
        if waits and node and name not in made and "deletionTimestamp" not in metadata:
            (folder / name).mkdir(parents=True, exist_ok=True)
            api.apply(_volume(name, folder / name, node, claim))
    for volume in volumes:
        metadata = volume["metadata"]
        ours = metadata.get("annotations", {}).get("pv.kubernetes.io/provisioned-by") == PROVISIONER
        if ours and volume.get("status", {}).get("phase") == "Released":
            shutil.rmtree(folder / metadata["name"], ignore_errors=True)
            api.delete(f"{_VOLUMES}/{metadata['name']}")


def _volume(name: str, path: Path, node: str, claim: Object) -> Object:
    metadata, spec = claim["metadata"], claim["spec"]
    on_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
        },
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "local",
        },
    }


def _ring(api: Api, path: str, bell: threading.Event) -> None:
    """Ring at each change of a list."""
    while True:
        try:
            since = api.get(path)["metadata"]["resourceVersion"]
            bell.set()
            for _ in api.watch(path, since, 300):
                bell.set()
        except (Refused, OSError, ValueError):
            time.sleep(_AGAIN_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    api, bell = Api(arguments.kubeconfig), threading.Event()
    for path in (_CLAIMS, _VOLUMES):
        threading.Thread(target=_ring, args=(api, path, bell), daemon=True).start()
    while True:
        bell.wait(_RESYNC_SECONDS)
        bell.clear()
        try:
            provision(api, arguments.folder)
        except (Refused, OSError) as trouble:
            print(f"not provisioned, trying again: {trouble}", flush=True)
            time.sleep(_AGAIN_SECONDS)
            bell.set()


if __name__ == "__main__":
    main()
