"""Lists that are short and known: collections, retrievers, models. Paged by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Query

LIMIT = Query(100, ge=1, le=1000)
CURSOR = Query(None, max_length=512, description="`next_cursor` of the previous page.")


def page_by_name(
    items: Mapping[str, dict[str, Any]], limit: int, cursor: str | None
) -> dict[str, Any]:
    """A page of items in the order of their names; the cursor is the last name."""
    names = sorted(name for name in items if cursor is None or name > cursor)
    page = names[:limit]
    following = page[-1] if len(names) > limit else None
    return {"items": [items[name] for name in page], "next_cursor": following}
