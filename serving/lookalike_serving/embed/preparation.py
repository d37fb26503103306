"""How a picture is prepared, for models whose files do not say it: `preprocessor_config.json`, as
transformers writes it, beside them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from lookalike_serving.embed.preprocess import Preprocessing
from lookalike_serving.embed.protocol import ModelError

_INTERPOLATIONS: dict[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}
PREPROCESSOR = "preprocessor_config.json"
EXAMPLE = (
    '{"size": {"height": 224, "width": 224}, "image_mean": [0.5, 0.5, 0.5], '
    '"image_std": [0.5, 0.5, 0.5], "resample": 3}'
)


def preparation(file: Path) -> Preprocessing:
    """Raises ModelError for what cannot be read, or cannot be done here."""
    try:
        said: dict[str, Any] = json.loads(file.read_text("utf-8"))
        cropped = bool(said.get("do_center_crop", False)) and "crop_size" in said
        fitted = said["size"]
        height, width = _size(said["crop_size"] if cropped else fitted)
        kept = min(1.0, min(height, width) / min(_size(fitted))) if cropped else 1.0
        squash = not cropped and "shortest_edge" not in (fitted if isinstance(fitted, dict) else {})
        normalised = said.get("do_normalize", True)
        interpolation = _INTERPOLATIONS[said.get("resample", 3)]
        factor = float(said.get("rescale_factor", 1 / 255))
        mean = said["image_mean"] if normalised else (0.0, 0.0, 0.0)
        std = said["image_std"] if normalised else (1.0, 1.0, 1.0)
        three_means, three_deviations = _three(mean), _three(std)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{file} cannot be used ({type(error).__name__}: {error}): write it such as {EXAMPLE}"
        ) from None
    if abs(factor - 1 / 255) > 1e-6:
        raise ModelError(f"{file}: rescale_factor {factor:g} is not possible: only 1/255 is")
    return Preprocessing(
        height=height,
        width=width,
        mean=three_means,
        std=three_deviations,
        interpolation=interpolation,
        resize_mode="squash" if squash else "shortest",
        kept=kept,
    )


def _size(said: Any) -> tuple[int, int]:
    if isinstance(said, dict):
        if "shortest_edge" in said:
            return int(said["shortest_edge"]), int(said["shortest_edge"])
        return int(said["height"]), int(said["width"])
    return int(said), int(said)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue
