"""Servers that are Go modules, built once, outside of the checkout.

Without Go or a network the tests that need one are skipped with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from e2e.cluster.paths import cache

_BUILD_SECONDS = 600


def go_program(package: str, name: str | None = None) -> Path:
    """The program of a package with its version, such as `example.com/cmd/server@v1.2.3`.

    One on the search path under that name is used instead, unless it is called otherwise: `name`.
    """
    path, _, version = package.partition("@")
    built = path.rpartition("/")[2]
    if name is None and (found := shutil.which(built)):
        return Path(found)
    program = cache() / f"{name or built}-{version}" / built
    if program.is_file():
        return program
    go = shutil.which("go")
    if go is None:
        pytest.skip(f"{name or built} needs Go, which is not here")
    program.parent.mkdir(parents=True, exist_ok=True)
    # Into a folder of its own: another process may build it at the same time.
    building = program.parent / f"building-{os.getpid()}"
    settings = {**os.environ, "GOBIN": str(building), "CGO_ENABLED": "0"}
    try:
        subprocess.run(
            [go, "install", package],
            env=settings,
            check=True,
            timeout=_BUILD_SECONDS,
            capture_output=True,
        )
        (building / built).replace(program)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"{name or built} cannot be built: {error}")
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return program
