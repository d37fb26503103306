"""Names at the edges of what can be one, and names that nobody meant to be one."""

from __future__ import annotations

from hypothesis import strategies as st

EDGES: tuple[str, ...] = (
    "a", "z9", "0", "0shop", "9-a", "shop", "eu-shop", "a--b", "a-0", "3d-search",
    "-a", "a-", "-", "--", "a.b", "a.b.c", ".a", "a.", "a..b", "a-.b", "a_b", "A", "Shop", "a/b",
    "a b", " a", "a\n", "a\t", "ä", "café", "shop\u202f", "ѕhop", "日本", "🙂", "%61", "a:b", "a,b",
    "12345", "1e3", "true", "null", "0x1f",
    *("a" * n for n in (41, 42, 43, 46, 47, 48, 50, 51, 52, 53, 59, 60, 61, 62, 63, 64, 65)),
    *("0" * n for n in (41, 52, 63, 64)),
    *("a-" * n + "b" for n in (20, 25, 30, 31, 32)),
    "a" * 62 + "-", "a" * 54 + "-12345678", "a" * 50 + "-0123456789ab", "ä" * 63,
    "a" * 61 + ".b", "a" * 63 + ".b", "a" * 64 + ".b", "a" * 253, "a" * 254,
    ".".join(["a" * 63] * 3), ".".join(["a" * 63] * 4),
)  # fmt: skip

names = st.one_of(
    st.text(st.sampled_from("abz09-"), min_size=1, max_size=66),
    st.text(st.sampled_from("ab0-.A_"), min_size=1, max_size=8),
    st.integers(58, 68).flatmap(lambda n: st.text(st.sampled_from("a0-"), min_size=n, max_size=n)),
    st.text(min_size=1, max_size=6),
    st.sampled_from(EDGES),
)


_DASHED = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_KEY = _DASHED | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ_.")


def _is_dashed(text: str) -> bool:
    return bool(text) and set(text) <= _DASHED and "-" not in (text[0], text[-1])


def is_label(text: str) -> bool:
    """As Kubernetes says it (RFC 1123), without a regular expression."""
    return _is_dashed(text) and len(text) <= 63


def is_service(text: str) -> bool:
    """RFC 1035."""
    return is_label(text) and text[0] not in "0123456789"


def is_object(text: str) -> bool:
    """A subdomain of RFC 1123. Kubernetes bounds the whole alone, not its parts."""
    return len(text) <= 253 and all(map(_is_dashed, text.split(".")))


def is_data_key(text: str) -> bool:
    """Of a Secret or ConfigMap."""
    if not 1 <= len(text) <= 253 or text == "." or text.startswith(".."):
        return False
    return set(text) <= _KEY
