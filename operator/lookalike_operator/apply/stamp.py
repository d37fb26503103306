"""The digest of a manifest as rendered, which every applied child carries.

It shows whether we would apply the same as last time, including fields that we no longer set:
comparing fields alone cannot detect those.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from lookalike_operator.plan.model import Manifest

APPLIED = "lookalike.dev/applied"


def digest(manifest: Manifest) -> str:
    """Equal manifests have equal digests whatever the order of their keys.

    The class of a claim is left out: nobody can change it, and a claim that names none is rendered
    with the one that the cluster has given it as soon as it lives. That is no reason to write.
    """
    if manifest["kind"] == "PersistentVolumeClaim":
        spec = {key: value for key, value in manifest["spec"].items() if key != "storageClassName"}
        manifest = {**manifest, "spec": spec}
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stamped(manifest: Manifest) -> dict[str, Any]:
    """The manifest with its digest as an annotation."""
    meta = manifest["metadata"]
    annotations = {**(meta.get("annotations") or {}), APPLIED: digest(manifest)}
    return {**manifest, "metadata": {**meta, "annotations": annotations}}


def stamp_of(live: Manifest) -> str | None:
    return (live["metadata"].get("annotations") or {}).get(APPLIED)
