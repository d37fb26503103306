"""How many documents each index held when it was last looked at, kept in the data folder.

An index that is lost – its folder emptied, its volume replaced, its collection deleted on the
server – is created again when it is opened, and looks like one that never held anything. This file,
which is stored outside of it, distinguishes the two (`lookalike_crds.lost`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from lookalike_serving.machine.files import write_atomically

log = logging.getLogger("lookalike.service")

_FILE = "documents.json"


def remembered(data_dir: Path) -> dict[str, int]:
    """The number of documents by index. Empty if nothing is known."""
    try:
        found = json.loads((data_dir / _FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): count for name, count in found.items() if isinstance(count, int)}


def remember(data_dir: Path, counts: Mapping[str, int]) -> None:
    """Record these counts; others stay. Nothing is written to a full disk."""
    before = remembered(data_dir)
    after = {**before, **counts}
    if after != before:
        _write(data_dir, after)


def forget(data_dir: Path, index: str) -> None:
    """Forget an index that was dropped on purpose."""
    before = remembered(data_dir)
    if index in before:
        _write(data_dir, {name: count for name, count in before.items() if name != index})


def _write(data_dir: Path, counts: Mapping[str, int]) -> None:
    text = json.dumps(dict(sorted(counts.items())), indent=2) + "\n"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(data_dir / _FILE, text.encode())
    except OSError as failure:
        log.warning("the number of documents could not be recorded in %s: %s", data_dir, failure)
