"""A server on a machine that others use, too: no door, no folder and no socket is open to them."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Server

from lookalike_crds.config import ServingConfig
from lookalike_serving.machine import processes
from lookalike_serving.machine.rundir import RunDirectory

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def run(server: Server, config: ServingConfig) -> RunDirectory:
    return RunDirectory.of(config.data_dir)


def test_another_user_reaches_no_file_of_ours(run: RunDirectory) -> None:
    for top in (run.data_dir, run.ray_dir):
        found = top.stat()
        assert found.st_uid == os.getuid()
        assert stat.S_IMODE(found.st_mode) == 0o700


def test_every_socket_lies_in_a_closed_folder(run: RunDirectory) -> None:
    """Whatever their own modes: Ray opens its folder to everybody."""
    ours = [str(process.pid) for process in processes.of_run(run)]
    inodes = {inode for pid in ours for inode in socket_inodes(pid)}
    listed = Path("/proc/net/unix").read_text().splitlines()[1:]
    paths = [f[7] for line in listed if len(f := line.split()) == 8 and f[6] in inodes]
    named = [Path(path) for path in paths if not path.startswith("@")]
    assert len(named) >= 3
    for path in named:
        assert path.is_relative_to(run.ray_dir), path


def test_the_admin_socket_of_the_ingress_is_its_owners(run: RunDirectory) -> None:
    found = [path for path in run.ray_dir.glob("h/**/*") if path.is_socket()]
    assert found
    assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {0o600}


def test_nothing_listens_beyond_loopback(run: RunDirectory) -> None:
    ours = [str(process.pid) for process in processes.of_run(run)]
    inodes = {inode for pid in ours for inode in socket_inodes(pid)}
    found = [
        (address, port)
        for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6"))
        for address, port, inode in listeners(family, table)
        if inode in inodes
    ]
    assert len(found) >= 5
    beyond = [each for each in found if each[0] not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")]
    assert beyond == []


def socket_inodes(pid: str) -> set[str]:
    found = set()
    try:
        for link in Path("/proc", pid, "fd").iterdir():
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass
    return found


def listeners(family: socket.AddressFamily, table: str) -> Iterator[tuple[str, int, str]]:
    """(address, port, inode) of each listening TCP socket."""
    for line in Path("/proc/net", table).read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] != "0A":
            continue
        address, _, port = fields[1].partition(":")
        words = bytes.fromhex(address)
        packed = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
        yield socket.inet_ntop(family, packed), int(port, 16), fields[9]
