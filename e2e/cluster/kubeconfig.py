"""A kubeconfig that every client reads."""

from __future__ import annotations

import json
from pathlib import Path


def write_kubeconfig(
    path: Path, server: str, authority: Path | None = None, token: str | None = None
) -> Path:
    """With a token and the authorities of the server's certificate, or for plain HTTP without."""
    trust = {} if authority is None else {"certificate-authority": str(authority)}
    user = {} if token is None else {"token": token}
    document = {  # JSON is YAML, too
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "lookalike-e2e",
                "cluster": {"server": server, **trust},
            }
        ],
        "users": [{"name": "admin", "user": user}],
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
