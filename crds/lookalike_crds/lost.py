"""When an index has lost its documents: one rule for the operator and for a serving process.

Nobody is told why an index is empty. That it held documents when it was last looked at is the only
sign; whoever looks at indexes remembers the count for that, and keeps the old one while this holds.
"""

from __future__ import annotations


def what_was_lost(index: str, before: int | None, now: int, *, exists: bool = True) -> str | None:
    """What to tell of an index that held `before` documents and has `now`; None: nothing.

    `before` None: nobody has looked at it before.
    """
    if now or not before:
        return None
    now_it = "holds none" if exists else "is gone"
    return (
        f"index {index} held {before} documents and {now_it}: unless they were deleted on purpose, "
        "restore the index from a snapshot or a backup, or upload them again"
    )
