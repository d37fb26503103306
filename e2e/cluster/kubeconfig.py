"""A kubeconfig with a token, which every client reads."""

from __future__ import annotations

import json
from pathlib import Path


def write_kubeconfig(path: Path, server: str, authority: Path, token: str) -> Path:
    """JSON is YAML, too."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "lookalike-e2e",
                "cluster": {"server": server, "certificate-authority": str(authority)},
            }
        ],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [
            {"name": "lookalike-e2e", "context": {"cluster": "lookalike-e2e", "user": "admin"}}
        ],
        "current-context": "lookalike-e2e",
    }
    # Whole at every moment: programs that run read it when they please.
    written = path.with_suffix(".new")
    written.touch(mode=0o600)
    written.write_text(json.dumps(document, indent=2))
    written.rename(path)
    return path
