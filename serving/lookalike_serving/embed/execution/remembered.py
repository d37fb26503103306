"""What was measured, kept in a file for each kind of machine and each model.

    <cache folder>/tuned/<digest of machine and fingerprint>.json

It lies outside the index, beside the weights: the index knows nothing of it, and whoever shares the
weights shares what was measured. A machine is its processor, its GPU, the number of threads and the
versions of the engines; anything else that matters comes out when the embedder is built.
"""

from __future__ import annotations

import hashlib
import json
import platform
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lookalike_serving.embed.execution.ways import ChosenBy, Execution, Trial, Way
from lookalike_serving.machine.cpus import usable_cpus
from lookalike_serving.machine.files import write_atomically
from lookalike_serving.machine.locks import locked

_VERSION = 1
_ENGINES = ("torch", "onnxruntime", "onnxruntime-gpu", "openvino", "open-clip-torch", "timm")
_CPUS = Path("/proc/cpuinfo")
_FACTS = ("model name", "model", "stepping", "flags", "Features")


def machine(device: str) -> str:
    """What the machine is as far as speed depends on it, in one line."""
    parts = [_processor(), f"{usable_cpus()} threads"]
    if device.startswith("cuda"):
        import torch

        parts.append(torch.cuda.get_device_name(torch.device(device)))
    elif device != "cpu":
        parts.append(device)
    return "; ".join([*parts, *_versions()])


def recall(cache_dir: Path, fingerprint: str, machine: str) -> Execution | None:
    """None if nothing was measured, or the file is damaged."""
    try:
        said = json.loads(file_of(cache_dir, fingerprint, machine).read_text("utf-8"))
        if said["version"] != _VERSION:
            return None
        return _read(said)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(cache_dir: Path, fingerprint: str, machine: str, execution: Execution) -> None:
    """Raises OSError."""
    file = file_of(cache_dir, fingerprint, machine)
    file.parent.mkdir(parents=True, exist_ok=True)
    said = {"version": _VERSION, "machine": machine, "fingerprint": fingerprint}
    content = json.dumps({**said, **asdict(execution)}, indent=1)
    write_atomically(file, content.encode(), durable=False)


def turn(cache_dir: Path, fingerprint: str, machine: str) -> AbstractContextManager[bool]:
    """Whether it is this process that measures: never two at once that share the folder. Raises
    OSError."""
    return locked(file_of(cache_dir, fingerprint, machine).with_suffix(".lock"))


def file_of(cache_dir: Path, fingerprint: str, machine: str) -> Path:
    digest = hashlib.sha256(f"{fingerprint}\n{machine}".encode()).hexdigest()[:32]
    return cache_dir / "tuned" / f"{digest}.json"


def _read(said: dict[str, Any]) -> Execution:
    trials = tuple(
        Trial(
            way=Way(**each["way"]),
            image_ms=tuple(each["image_ms"]),
            text_ms=tuple(each["text_ms"]),
            image_cosine=each["image_cosine"],
            text_cosine=each["text_cosine"],
            left_out=each["left_out"],
        )
        for each in said["trials"]
    )
    text = Way(**said["text"]) if said["text"] is not None else None
    return Execution(Way(**said["image"]), text, ChosenBy(said["chosen_by"]), trials)


@cache
def _processor() -> str:
    try:
        lines = (line.partition(":") for line in _CPUS.read_text().splitlines())
        facts = {key.strip(): value.strip() for key, _, value in lines if key.strip() in _FACTS}
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    flags = facts.pop("flags", facts.pop("Features", ""))
    # Clouds call processors of several generations by one name.
    digest = hashlib.sha256(flags.encode()).hexdigest()[:8]
    return " ".join([*facts.values(), f"flags {digest}"])


@cache
def _versions() -> tuple[str, ...]:
    found = []
    for package in _ENGINES:
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return tuple(found)
