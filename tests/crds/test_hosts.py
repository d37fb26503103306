"""Which hosts only this machine reaches."""

from __future__ import annotations

import pytest

from lookalike_crds.hosts import is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.0.1", "::1", "[::1]"])
def test_only_this_machine_reaches_its_own_addresses(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.com", ""])
def test_others_may_reach_any_other(host: str) -> None:
    assert not is_loopback(host)
