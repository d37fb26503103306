"""A serving process applies what its configuration file says, as far as it can while it runs.

On a cluster the file is in the folder of a ConfigMap, whose files are links that Kubernetes swaps.
What requires a restart is not applied, and is logged: whoever manages the process starts a new one.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from lookalike_crds.config import LightConfig, ServingConfig, heavy_digest, light_of, with_light
from lookalike_crds.config_file import what_is_wrong

log = logging.getLogger("lookalike.config")

POLL_SECONDS = 2.0


class Follower(Protocol):
    @property
    def config(self) -> ServingConfig: ...

    def take(self, light: LightConfig) -> None:
        """Raises ValueError."""
        ...


async def follow(path: Path, service: Follower, *, poll_seconds: float = POLL_SECONDS) -> None:
    """Runs until it is cancelled. What cannot be read or applied is logged once, and the last
    configuration stays."""
    seen: bytes | None = None
    complaint = ""
    while True:
        try:
            content = await asyncio.to_thread(path.read_bytes)
            if content != seen:
                seen = content
                _take(content, service)
            complaint = ""
        except (OSError, ValueError) as failure:
            told = _in_one_line(failure)
            if told != complaint:
                log.error("%s is ignored: %s", path, told)
            complaint = told
        await asyncio.sleep(poll_seconds)


def as_of(path: Path, config: ServingConfig) -> ServingConfig:
    """What a process begins with that was told `config` when its server started: the file may have
    changed since, and the Edge index that it named then may be gone."""
    try:
        return with_light(config, light_of(ServingConfig.model_validate_json(path.read_bytes())))
    except (OSError, ValueError):
        return config  # `follow` tells what is wrong with it


def _take(content: bytes, service: Follower) -> None:
    wanted = ServingConfig.model_validate_json(content)
    light = light_of(wanted)
    if light != light_of(service.config):
        service.take(light)
        log.info("applied what the changed configuration changes without a restart")
    if heavy_digest(wanted) != heavy_digest(service.config):
        log.warning(
            "the changed configuration differs in parts that take effect with the next start"
        )


def _in_one_line(failure: OSError | ValueError) -> str:
    if isinstance(failure, ValidationError):
        return what_is_wrong(failure)
    return " ".join(str(failure).split())
