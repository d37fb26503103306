"""From decoded pixels to the input of an image tower, exactly as its library does it, but faster.

open_clip and timm resize the whole image and crop the middle; here Pillow is asked for the middle
alone (`box`), with the same filter at the same positions. Very large sources are first
reduced by a whole factor (`reducing_gap`). Normalisation is left to the batch: a uint8 tensor
is a quarter of the size to queue and copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike_serving.embed.protocol import Box, ModelError, Pixels

ResizeMode = Literal["shortest", "longest", "squash"]

# Pillow: with 3.0 the result is "almost indistinguishable from fair resampling".
_REDUCING_GAP = 3.0
# How many times as large as what it is fitted into an image must stay that a decoder scales down.
# Measured by bench/decode.py.
_DECODING_GAP = 1.5
# Thirds of a pixel are no exact numbers.
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a model's input is prepared: open_clip's `PreprocessCfg`, timm's data config."""

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize_mode: ResizeMode = "shortest"
    fill_color: int | tuple[int, int, int] = 0
    kept: float = 1.0
    """The part of the side of the fitted image that the model sees: timm's crop_pct."""

    @classmethod
    def from_open_clip(cls, config: dict[str, Any]) -> Preprocessing:
        """From `open_clip.get_model_preprocess_cfg(model)`."""
        size = config["size"]
        height, width = (size, size) if isinstance(size, int) else size
        return cls(
            height=height,
            width=width,
            mean=_three(config["mean"]),
            std=_three(config["std"]),
            # open_clip reads anything but bilinear as bicubic when it does not train.
            interpolation="bilinear" if config.get("interpolation") == "bilinear" else "bicubic",
            resize_mode=config.get("resize_mode") or "shortest",
            fill_color=config.get("fill_color") or 0,
        )

    @classmethod
    def from_timm(cls, config: dict[str, Any]) -> Preprocessing:
        """From `timm.data.resolve_model_data_config(model)`.

        Raises ModelError for what cannot be done here.
        """
        channels, height, width = config["input_size"]
        modes: dict[str, ResizeMode] = {
            "center": "shortest",
            "squash": "squash",
            "border": "longest",
        }
        if channels != 3:
            raise ModelError(f"the model reads {channels} channels: only models of 3, RGB, can run")
        if config["interpolation"] not in ("bicubic", "bilinear"):
            raise ModelError(
                f"the model's interpolation is {config['interpolation']!r}: only bicubic and "
                "bilinear are possible"
            )
        if config["crop_mode"] not in modes:
            raise ModelError(
                f"the model's crop_mode is {config['crop_mode']!r}: only {', '.join(modes)} are "
                "possible"
            )
        mean = _three(config["mean"])
        red, green, blue = (round(255 * value) for value in mean)
        return cls(
            height=height,
            width=width,
            mean=mean,
            std=_three(config["std"]),
            interpolation=config["interpolation"],
            resize_mode=modes[config["crop_mode"]],
            fill_color=(red, green, blue) if config["crop_mode"] == "border" else 0,
            kept=config["crop_pct"],
        )

    @property
    def min_side(self) -> int:
        """Decoders may scale an image down to no less than this, pixels."""
        return math.ceil(_DECODING_GAP * max(self._fitted))

    @property
    def _fitted(self) -> tuple[int, int]:
        """(width, height) that an image is fitted into before its middle is taken."""
        return math.floor(self.width / self.kept), math.floor(self.height / self.kept)

    def __call__(self, image: Pixels, box: Box | None = None) -> NDArray[np.uint8]:
        """(h, w, 3) uint8 RGB -> (3, height, width) uint8, C-contiguous. Thread-safe.

        `box`: what of the image the picture takes (left, top, right, bottom); None: all.
        """
        source = Image.fromarray(image)
        seen = box or (0.0, 0.0, float(source.width), float(source.height))
        match self.resize_mode:
            case "squash":
                fitted = self._middle(source, seen, self._fitted)
            case "longest":
                fitted = self._pad(source, seen)
            case "shortest":
                size = seen[2] - seen[0], seen[3] - seen[1]
                fitted = self._middle(source, seen, self._covering(*size))
        return np.ascontiguousarray(np.asarray(fitted).transpose(2, 0, 1))

    def _resize(self, source: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
        resample = (
            Image.Resampling.BILINEAR
            if self.interpolation == "bilinear"
            else Image.Resampling.BICUBIC
        )
        return source.resize(size, resample, box=box, reducing_gap=_REDUCING_GAP)

    def _covering(self, width: float, height: float) -> tuple[int, int]:
        """(width, height) of a picture as it just covers what it is fitted into."""
        wide, high = self._fitted
        if wide == high:
            # torchvision's Resize(int) truncates the longer side …
            short = min(width, height)
            return (
                int(wide * width / short + _TINY) if width > height else wide,
                int(high * height / short + _TINY) if height > width else high,
            )
        # … and the ResizeKeepRatio of open_clip and timm rounds it.
        ratio = min(width / wide, height / high)
        return round(width / ratio), round(height / ratio)

    def _middle(self, source: Image.Image, seen: Box, scaled: tuple[int, int]) -> Image.Image:
        """What the model sees of the picture when that is scaled so."""
        width, height = seen[2] - seen[0], seen[3] - seen[1]
        left = round((scaled[0] - self.width) / 2)
        top = round((scaled[1] - self.height) / 2)
        x, y = width / scaled[0], height / scaled[1]
        box = (
            seen[0] + max(0.0, left * x),
            seen[1] + max(0.0, top * y),
            seen[0] + min(width, (left + self.width) * x),
            seen[1] + min(height, (top + self.height) * y),
        )
        return self._resize(source, (self.width, self.height), box)

    def _pad(self, source: Image.Image, seen: Box) -> Image.Image:
        """The whole picture, its longest side fitted, on a canvas of the fill colour."""
        width, height = seen[2] - seen[0], seen[3] - seen[1]
        wide, high = self._fitted
        ratio = max(width / wide, height / high)
        size = (max(1, round(width / ratio)), max(1, round(height / ratio)))
        fill = self.fill_color
        canvas = Image.new(
            "RGB", (self.width, self.height), (fill,) * 3 if isinstance(fill, int) else fill
        )
        offset = (_centred(size[0], self.width), _centred(size[1], self.height))
        canvas.paste(self._resize(source, size, seen), offset)
        return canvas


def _centred(side: int, within: int) -> int:
    """The offset of a side that is centred in another one; negative if it is longer."""
    return (within - side) // 2 if side <= within else -round((side - within) / 2)


def _three(values: Any) -> tuple[float, float, float]:
    if isinstance(values, int | float):
        return (float(values),) * 3
    red, green, blue = values
    return float(red), float(green), float(blue)
