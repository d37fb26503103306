"""A registry of OCI artifacts on loopback: that of go-containerregistry, in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.support.emulators import emulator
from tests.support.go_programs import go_program
from tests.support.ports import free_port

_PACKAGE = "github.com/google/go-containerregistry/cmd/registry@v0.22.1"


@contextlib.contextmanager
def oci_registry() -> Iterator[str]:
    """Its host and port; empty. Takes requests without credentials."""
    port = free_port()
    program = go_program(_PACKAGE, "oci-registry")
    with emulator("registry", [str(program), "-port", str(port)], f"http://localhost:{port}/v2/"):
        yield f"localhost:{port}"
