"""One product picture: background, shadow, shape, pattern, light.

Masks are drawn by Pillow at twice the size and reduced (that is the anti-aliasing); colours,
patterns and shading are numpy over the product's bounding box alone. The same seed gives the same
pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from lookalike_serving.demo.paths import flatten
from lookalike_serving.demo.patterns import PAINT, Surface
from lookalike_serving.demo.products import COLOURS, SHAPES, Trim

Rgb = NDArray[np.float32]
_SUPERSAMPLE = 2

_BACKDROPS: tuple[tuple[int, int, int], ...] = (
    (236, 236, 238),
    (226, 231, 236),
    (240, 234, 224),
    (222, 214, 204),
    (232, 222, 226),
    (216, 226, 218),
    (206, 212, 222),
    (250, 249, 246),
)


@dataclass(frozen=True, slots=True)
class Pose:
    """Object units -> pixels: rotation, scale, mirror and place."""

    matrix: NDArray[np.float32]
    """(2, 2)."""
    centre: NDArray[np.float32]
    """(2,) pixels: where the box's middle (50, 50) lies."""

    def apply(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        return (points - 50) @ self.matrix.T + self.centre


def render(
    kind: str, colour: str, pattern: str, rng: np.random.Generator, size: tuple[int, int]
) -> Image.Image:
    """A picture of one product, RGB, `size` = (width, height) pixels.

    Raises KeyError for a kind, colour or pattern that the catalogue does not have.
    """
    width, height = size
    canvas = _background(rng, width, height)
    pose = _pose(rng, width, height)
    shape = SHAPES[kind]
    base = np.array(COLOURS[colour], np.float32) * rng.uniform(0.93, 1.06)
    shades = _Shades(base)

    silhouette = _mask(
        pose, shape.body, [t for t in shape.under if t.width == 0], shape.under, size
    )
    _shadow(canvas, silhouette, rng)
    for trim in shape.under:
        _paint_trim(canvas, pose, trim, shades, size)
    _paint_body(canvas, pose, shape.body, base, colour, pattern, rng, size)
    for trim in shape.over:
        _paint_trim(canvas, pose, trim, shades, size)
    _light(canvas, rng)
    np.clip(canvas, 0, 255, out=canvas)
    return Image.fromarray(canvas.astype(np.uint8))


@dataclass(frozen=True, slots=True)
class _Shades:
    base: Rgb

    def of(self, name: str) -> Rgb:
        if name == "body":
            return self.base
        if name == "dark":
            return self.base * 0.62 + 6
        if name == "light":
            return self.base * 0.55 + 112
        return np.array([int(name[i : i + 2], 16) for i in (1, 3, 5)], np.float32)


def _pose(rng: np.random.Generator, width: int, height: int) -> Pose:
    side = min(width, height)
    scale = side * rng.uniform(0.58, 0.86) / 100
    turn = math.radians(float(np.clip(rng.normal(0, 9), -24, 24)))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    stretch = rng.uniform(0.92, 1.08)
    cos, sin = math.cos(turn), math.sin(turn)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.diag([mirror * stretch, 1 / stretch]) * scale
    slack = side - 100 * scale
    shift = rng.uniform(-0.4, 0.4, 2) * slack + np.array([width, height]) / 2
    return Pose(matrix.astype(np.float32), shift.astype(np.float32))


def _draw(draw: ImageDraw.ImageDraw, pose: Pose, path: str, width: float) -> None:
    scale = float(np.sqrt(abs(np.linalg.det(pose.matrix)))) * _SUPERSAMPLE
    for outline in flatten(path):
        points = [tuple(p) for p in (pose.apply(outline) * _SUPERSAMPLE).tolist()]
        if width == 0:
            draw.polygon(points, fill=255)
        else:
            draw.line(points, fill=255, width=max(1, round(width * scale)), joint="curve")


def _mask(
    pose: Pose,
    body: tuple[str, ...],
    fills: list[Trim],
    under: tuple[Trim, ...],
    size: tuple[int, int],
) -> Image.Image:
    big = Image.new("L", (size[0] * _SUPERSAMPLE, size[1] * _SUPERSAMPLE))
    draw = ImageDraw.Draw(big)
    for path in body:
        _draw(draw, pose, path, 0)
    for trim in under:
        _draw(draw, pose, trim.path, trim.width)
    return big.reduce(_SUPERSAMPLE)


def _blend(canvas: Rgb, mask: Image.Image, colour: Rgb) -> None:
    box = mask.getbbox()
    if box is None:
        return
    left, top, right, bottom = box
    alpha = np.asarray(mask.crop(box), np.float32) / 255
    for channel in range(3):
        part = canvas[top:bottom, left:right, channel]
        part += (colour[channel] - part) * alpha


def _paint_trim(
    canvas: Rgb, pose: Pose, trim: Trim, shades: _Shades, size: tuple[int, int]
) -> None:
    big = Image.new("L", (size[0] * _SUPERSAMPLE, size[1] * _SUPERSAMPLE))
    _draw(ImageDraw.Draw(big), pose, trim.path, trim.width)
    _blend(canvas, big.reduce(_SUPERSAMPLE), shades.of(trim.colour))


def _paint_body(
    canvas: Rgb,
    pose: Pose,
    body: tuple[str, ...],
    base: Rgb,
    colour: str,
    pattern: str,
    rng: np.random.Generator,
    size: tuple[int, int],
) -> None:
    mask = _mask(pose, body, [], (), size)
    box = mask.getbbox()
    if box is None:
        return
    left, top, right, bottom = box
    inverse = np.linalg.inv(pose.matrix).astype(np.float32)
    x = np.arange(left, right, dtype=np.float32)[None] - pose.centre[0]
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - pose.centre[1]
    u = inverse[0, 0] * x + inverse[0, 1] * y + 50
    v = inverse[1, 0] * x + inverse[1, 1] * y + 50

    tilt = math.radians(rng.uniform(-8, 8))
    surface = Surface(
        u=math.cos(tilt) * u - math.sin(tilt) * v + rng.uniform(0, 20),
        v=math.sin(tilt) * u + math.cos(tilt) * v + rng.uniform(0, 20),
        pixel=float(np.sqrt(abs(np.linalg.det(inverse)))),
        cell=rng.uniform(13.5, 17.5),
        seed=int(rng.integers(1 << 16)),
    )
    ink = PAINT[pattern](surface)
    contrast = _contrast(colour, rng)

    # A rounded look: darker towards the outline (a blurred mask knows how far that is) and away
    # from a light at the upper left.
    small = mask.crop(box).resize((32, 32)).filter(ImageFilter.GaussianBlur(3))
    depth = np.asarray(
        small.resize((right - left, bottom - top), Image.Resampling.BILINEAR), np.float32
    )
    side = 1.06 - 0.0016 * (u + 0.6 * v)
    light = (0.74 + 0.28 * depth / 255) * side

    alpha = np.asarray(mask.crop(box), np.float32) / 255
    for channel in range(3):
        painted = (base[channel] + (contrast[channel] - base[channel]) * ink) * light
        part = canvas[top:bottom, left:right, channel]
        part += (painted - part) * alpha


def _contrast(colour: str, rng: np.random.Generator) -> Rgb:
    """The second colour of a pattern: pale on strong colours, deep on pale ones."""
    pale = colour in {"white", "yellow", "pink", "grey"}
    choices = ((52, 54, 70), (70, 50, 46)) if pale else ((248, 246, 240), (250, 238, 212))
    return np.array(choices[int(rng.integers(len(choices)))], np.float32)


def _background(rng: np.random.Generator, width: int, height: int) -> Rgb:
    tone = np.array(_BACKDROPS[int(rng.integers(len(_BACKDROPS)))], np.float32)
    tone = np.clip(tone * rng.uniform(0.86, 1.04) + rng.normal(0, 4, 3), 0, 255).astype(np.float32)
    style = rng.random()
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    if style < 0.4:  # studio sweep
        shade = 1.04 - 0.16 * y + 0.0 * x
    elif style < 0.7:  # spot of light
        cx, cy = rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.6)
        shade = 1.08 - 0.32 * ((x - cx) ** 2 + (y - cy) ** 2)
    else:  # wall and table
        horizon = np.float32(rng.uniform(0.58, 0.78))
        table = np.clip((y - horizon) * height / 2, 0, 1)
        wood = np.array([196, 164, 128], np.float32) * rng.uniform(0.75, 1.1)
        rings = rng.uniform(60, 140)
        room = _wash(tone, (1.02 - 0.08 * y) * np.ones_like(x))
        top = int(np.argmax(table > 0))  # the grain is dear: only where the table is seen
        grain = 1 + 0.035 * np.sin(y[top:] * rings + 3 * np.sin(x * 5))
        room[top:] = room[top:] * (1 - table[top:]) + _wash(wood, grain) * table[top:]
        return room
    return _wash(tone, shade)


def _wash(colour: Rgb, shade: Rgb) -> Rgb:
    """(h, w, 3): `colour` (3,) times `shade` (h, w, 1). A channel at a time, since numpy runs a
    loop over an axis of three several times slower than one along the rows."""
    height, width, _ = shade.shape
    out: Rgb = np.empty((height, width, 3), np.float32)
    for channel in range(3):
        np.multiply(colour[channel], shade[..., 0], out=out[..., channel])
    return out


def _shadow(canvas: Rgb, silhouette: Image.Image, rng: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    small = silhouette.resize((64, 64), Image.Resampling.BILINEAR)
    dx, dy = int(rng.integers(-3, 4)), int(rng.integers(1, 4))
    moved = Image.new("L", (64, 64))
    moved.paste(small, (dx, dy))
    soft = moved.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 3)))
    dark = np.asarray(soft.resize((width, height), Image.Resampling.BILINEAR), np.float32)
    left = 1 - dark * (rng.uniform(0.2, 0.42) / 255)
    for channel in range(3):
        canvas[..., channel] *= left


def _light(canvas: Rgb, rng: np.random.Generator) -> None:
    """Exposure and a slight colour cast over the whole picture."""
    cast = (rng.uniform(0.9, 1.08) * (1 + rng.normal(0, 0.012, 3))).astype(np.float32)
    for channel in range(3):
        canvas[..., channel] *= cast[channel]
