"""From decoded pixels to what an image tower reads, exactly as its library does it, but quicker.

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

from lookalike_serving.embed.protocol import ModelError, Pixels

ResizeMode = Literal["shortest", "longest", "squash"]

# Pillow: with 3.0 the result is "almost indistinguishable from fair resampling".
_REDUCING_GAP = 3.0


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a model's card says about its input: open_clip's `PreprocessCfg`, timm's data config."""

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize_mode: ResizeMode = "shortest"
    fill_color: int | tuple[int, int, int] = 0
    kept: float = 1.0
    """The middle of the fitted image that the model sees, as part of its side: timm's crop_pct."""

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
        """The longer side of what an image is fitted into: smaller ones would be enlarged."""
        return max(self._fitted)

    @property
    def _fitted(self) -> tuple[int, int]:
        """(width, height) that an image is fitted into before its middle is taken."""
        return math.floor(self.width / self.kept), math.floor(self.height / self.kept)

    def __call__(self, image: Pixels) -> NDArray[np.uint8]:
        """(h, w, 3) uint8 RGB -> (3, height, width) uint8, C-contiguous. Thread-safe."""
        source = Image.fromarray(image)
        match self.resize_mode:
            case "squash":
                fitted = self._middle(source, self._fitted)
            case "longest":
                fitted = self._pad(source)
            case "shortest":
                fitted = self._middle(source, self._covering(source))
        return np.ascontiguousarray(np.asarray(fitted).transpose(2, 0, 1))

    def _resize(
        self,
        source: Image.Image,
        size: tuple[int, int],
        box: tuple[float, float, float, float] | None = None,
    ) -> Image.Image:
        resample = (
            Image.Resampling.BILINEAR
            if self.interpolation == "bilinear"
            else Image.Resampling.BICUBIC
        )
        return source.resize(size, resample, box=box, reducing_gap=_REDUCING_GAP)

    def _covering(self, source: Image.Image) -> tuple[int, int]:
        """(width, height) of the source as it just covers what it is fitted into."""
        width, height = source.size
        wide, high = self._fitted
        if wide == high:
            # torchvision's Resize(int) truncates the longer side …
            short = min(width, height)
            return (
                int(wide * width / short) if width > height else wide,
                int(high * height / short) if height > width else high,
            )
        # … and the ResizeKeepRatio of open_clip and timm rounds it.
        ratio = min(width / wide, height / high)
        return round(width / ratio), round(height / ratio)

    def _middle(self, source: Image.Image, scaled: tuple[int, int]) -> Image.Image:
        """What the model sees of the source when that is scaled so."""
        width, height = source.size
        left = round((scaled[0] - self.width) / 2)
        top = round((scaled[1] - self.height) / 2)
        x, y = width / scaled[0], height / scaled[1]
        box = (
            max(0.0, left * x),
            max(0.0, top * y),
            min(float(width), (left + self.width) * x),
            min(float(height), (top + self.height) * y),
        )
        return self._resize(source, (self.width, self.height), box)

    def _pad(self, source: Image.Image) -> Image.Image:
        """The whole image, its longest side fitted, on a canvas of the fill colour."""
        width, height = source.size
        wide, high = self._fitted
        ratio = max(width / wide, height / high)
        size = (max(1, round(width / ratio)), max(1, round(height / ratio)))
        fill = self.fill_color
        canvas = Image.new(
            "RGB", (self.width, self.height), (fill,) * 3 if isinstance(fill, int) else fill
        )
        offset = (_centred(size[0], self.width), _centred(size[1], self.height))
        canvas.paste(self._resize(source, size), offset)
        return canvas


def _centred(side: int, within: int) -> int:
    """Where a side begins in the middle of another; negative if it is the longer one."""
    return (within - side) // 2 if side <= within else -round((side - within) / 2)


def _three(values: Any) -> tuple[float, float, float]:
    if isinstance(values, int | float):
        return (float(values),) * 3
    red, green, blue = values
    return float(red), float(green), float(blue)
