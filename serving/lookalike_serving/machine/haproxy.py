"""The program that Ray Serve starts in place of HAProxy, and that becomes HAProxy.

Serve renders HAProxy's configuration and leaves some of it unprotected: the admin socket is open to
every user of the machine, statistics listen on all addresses, a client may take an hour to send a
header, and one who leaves is not noticed. `guarded` corrects that in the rendered file; then this
program becomes HAProxy:

    Serve  --starts-->  <folder>/haproxy -f haproxy.cfg …   (`write_launcher` made it)
                        = python -I this file, <HAProxy's own program>, -f haproxy.cfg …

It imports the standard library alone, since every start and reload of HAProxy waits for it.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

HEADER_SECONDS = 10
"""How long a client may take to send a request's header."""
IDLE_SECONDS = 60
"""How long a client may pause while it sends a body or reads an answer."""
KEEP_ALIVE_SECONDS = 60
DRAINING = "x-lookalike-draining"
"""Header of a server that is about to end: the client's connection closes after the answer."""

_SECTION = re.compile(r"(global|defaults|frontend|backend|listen)\b\s*(\S*)")
_LOCAL_SECTIONS = {"prometheus", "stats"}
_MAXCONN = re.compile(r"\s*maxconn\s+(\d+)")
_LEFT_OUT = re.compile(r"\s*(timeout (client|http-request|http-keep-alive)|option splice-\w+)\b")
"""Timeouts, since others are set; and splicing, since HAProxy does not notice that a client whose
body it has spliced has left: its picture would be embedded for nobody."""


def guarded(configuration: str) -> str:
    """HAProxy's configuration with limits for connections, and without open ports.

    Raises ValueError if it has no `global`, `defaults` or `http_frontend` section: it is not
    what Serve is known to write.
    """
    lines: list[str] = []
    found: set[str] = set()
    section = name = ""
    most = 4096
    for line in configuration.splitlines():
        if match := _SECTION.match(line):
            section, name = match.groups()
            found |= {section, name}
        elif match := _MAXCONN.match(line):
            most = int(match[1])
        if section in ("frontend", "listen") and name in _LOCAL_SECTIONS:
            line = re.sub(r"^(\s*bind )\*?:", r"\g<1>127.0.0.1:", line)
        line = re.sub(r"(stats socket .*)\bmode \d+", r"\g<1>mode 600", line)
        if _LEFT_OUT.match(line):
            continue
        lines.append(line)
        if line.startswith("defaults"):
            lines += _TIMEOUTS
        elif line.startswith("frontend http_frontend"):
            lines += _fair(most)
    if missing := {"global", "defaults", "http_frontend"} - found:
        raise ValueError(f"HAProxy's configuration has no {', '.join(sorted(missing))}")
    return "\n".join(lines) + "\n"


_TIMEOUTS = (
    f"    timeout http-request {HEADER_SECONDS}s",
    f"    timeout client {IDLE_SECONDS}s",
    f"    timeout http-keep-alive {KEEP_ALIVE_SECONDS}s",
)


def _fair(most: int) -> tuple[str, ...]:
    """One address has at most half of all connections, so that it cannot keep the others out.

    And a server that drains has its clients' connections closed, each after an answer.
    """
    draining = f"{{ res.hdr({DRAINING}) -m found }}"
    return (
        "    stick-table type ipv6 size 64k expire 1m store conn_cur",
        "    tcp-request connection track-sc0 src",
        f"    tcp-request connection reject if {{ sc0_conn_cur gt {most // 2} }}",
        f"    http-after-response set-header Connection close if {draining}",
        f"    http-after-response del-header {DRAINING}",
    )


def write_launcher(folder: Path, program: str) -> Path:
    """Write the executable that Serve starts as HAProxy; it becomes `program`, the real one."""
    path = folder / "haproxy"
    command = shlex.join([sys.executable, "-I", __file__, program])
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o700)
    return path


def main(arguments: list[str]) -> None:
    """Guard the file that `-f` names, and become HAProxy."""
    program, *options = arguments
    if "-f" in options:
        path = Path(options[options.index("-f") + 1])
        guarded_already = "http-after-response del-header"
        rendered = path.read_text()
        if guarded_already not in rendered:
            path.write_text(guarded(rendered))
    os.execv(program, [program, *options])


if __name__ == "__main__":
    main(sys.argv[1:])
