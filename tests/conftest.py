"""How `make test` shares the tests among processes that run side by side (pytest-xdist).

A file is run by one process, since its tests may build on each other, and so are all files of a
folder whose tests share a server that takes long to start.
"""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("lookalike", deadline=None)
settings.load_profile("lookalike")

SHARING = frozenset({"tests/index", "tests/serving", "tests/web"})
"""Folders with such a server. An API server is none: it is up in seconds, and the tests of one take
longer than all others."""


def room(nodeid: str) -> str:
    """What is run by one process: a file, or a folder of `SHARING`."""
    file = nodeid.partition("::")[0]
    folder = str(PurePosixPath(file).parent)
    return folder if folder in SHARING else file


class ByRoom(LoadScopeScheduling):
    """Hands out whole rooms, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return room(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByRoom:
    config.option.loadscopereorder = False
    return ByRoom(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, the long rooms come first, so that no process ends long after the others."""
    if not hasattr(config, "workerinput"):
        return
    slow = {room(item.nodeid) for item in items if item.get_closest_marker("slow")}
    sizes = Counter(room(item.nodeid) for item in items)
    items.sort(key=lambda i: (room(i.nodeid) not in slow, -sizes[room(i.nodeid)], room(i.nodeid)))
