"""Which row of the table of failures an exception is.

An exception class of the service has its row as `failure_kind`; `Problem` and `ImageError`, which
are of many kinds, have it in each instance. Whoever translates an exception – into an HTTP answer,
an item's outcome, an exit code – asks here, and reads the rest from the row.
"""

from __future__ import annotations

import errno

from lookalike_crds.failures import INTERNAL, STORAGE_FAILED, STORAGE_FULL, FailureKind

_BY_ERRNO = {
    errno.ENOSPC: STORAGE_FULL,
    errno.EDQUOT: STORAGE_FULL,
    errno.EROFS: STORAGE_FAILED,
    errno.EIO: STORAGE_FAILED,
}


def kind_of(error: BaseException) -> FailureKind:
    """The row of an exception; `INTERNAL` if it has none."""
    kind = getattr(error, "failure_kind", None)
    if isinstance(kind, FailureKind):
        return kind
    if isinstance(error, OSError):
        return _BY_ERRNO.get(error.errno or 0, INTERNAL)
    return INTERNAL


def told(error: Exception) -> str:
    """What a caller reads of an exception: its own message, or ours if it could name what is
    the server's business, such as its files or a bug."""
    if kind_of(error) is INTERNAL:
        return f"{INTERNAL.means} {INTERNAL.remedy}"
    if isinstance(error, OSError) and error.strerror and not hasattr(error, "failure_kind"):
        return f"The data folder cannot be written: {error.strerror}."
    return str(error)
