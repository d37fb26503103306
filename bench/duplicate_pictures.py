"""Photographs for `bench/duplicates.py`: scenes, edited copies of them, and pictures that are no
copies but look like it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from bench.photographs import photographs
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from lookalike_serving.demo.catalogue import entry
from lookalike_serving.demo.products import COLOURS
from lookalike_serving.demo.render import render
from lookalike_serving.duplicates.hashes import HashedPicture

Pixels = NDArray[np.uint8]
SCENE = (800, 600)
"""Pixels of a scene that is cut from a larger photograph."""


class Scene(NamedTuple):
    photograph: str
    """Scenes of one photograph share no pixel."""
    pixels: Pixels


def scenes(folders: list[Path]) -> list[Scene]:
    """Scenes of all photographs there are: those of scikit-image and scikit-learn, and of folders.

    Large ones are cut into scenes, each with something in it.
    """
    found = []
    for name, picture in _photographs(folders):
        tiles = _tiles(picture)
        found += [Scene(name, tile) for tile in tiles if HashedPicture(tile).hashes.quality >= 50]
    return found


def _photographs(folders: list[Path]) -> Iterator[tuple[str, Pixels]]:
    for number, picture in enumerate(photographs()):
        if picture.shape == stereo_pair()[0].shape:
            continue  # it is among the hard negatives
        yield f"scikit-image {number}", picture
    sklearn = find_spec("sklearn")
    if sklearn is not None and sklearn.origin is not None:
        for file in sorted((Path(sklearn.origin).parent / "datasets/images").glob("*.jpg")):
            yield file.stem, np.asarray(Image.open(file).convert("RGB"))
    for folder in folders:
        for file in sorted(folder.rglob("*.jpg")):
            yield file.stem, np.asarray(Image.open(file).convert("RGB"))


def _tiles(picture: Pixels) -> list[Pixels]:
    high, wide = picture.shape[:2]
    rows, columns = min(3, high // SCENE[1]), min(4, wide // SCENE[0])
    if rows * columns <= 1:
        image = Image.fromarray(picture)
        image.thumbnail((1024, 1024))
        return [np.asarray(image)]
    tiles = []
    for row in range(rows):
        for column in range(columns):
            top, bottom = row * high // rows, (row + 1) * high // rows
            left, right = column * wide // columns, (column + 1) * wide // columns
            image = Image.fromarray(np.ascontiguousarray(picture[top:bottom, left:right]))
            image.thumbnail((1024, 1024))
            tiles.append(np.asarray(image))
    return tiles


# --- copies ---------------------------------------------------------------------------------

Edit = Callable[[Image.Image, np.random.Generator], Image.Image]


def _saved(format: str, quality: int) -> Edit:
    def edit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, format, quality=quality)
        return Image.open(buffer).convert("RGB")

    return edit


def _cropped(area: float) -> Edit:
    def edit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, height = (round(side * area**0.5) for side in image.size)
        left = int(rng.integers(image.width - width + 1))
        top = int(rng.integers(image.height - height + 1))
        return image.crop((left, top, left + width, top + height))

    return edit


def _turned(degrees: float) -> Edit:
    def edit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        return image.rotate(-degrees, Image.Resampling.BICUBIC, expand=degrees % 90 == 0)

    return edit


def _noise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    noisy = np.asarray(image, np.float32) + rng.normal(0, 20, (*image.size[::-1], 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _text(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    image = image.copy()
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(12, image.height // 8))
    for line, text in enumerate(("SUMMER SALE", "only this week", "50 % off")):
        place = (image.width * 0.08, image.height * (0.2 + 0.22 * line))
        draw.text(place, text, "white", font, stroke_width=3, stroke_fill="black")
    return image


def _emoji(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Faces drawn over a tenth of the picture."""
    image = image.copy()
    draw = ImageDraw.Draw(image)
    size = min(image.size) * 0.27
    for _ in range(2):
        x = float(rng.uniform(0, image.width - size))
        y = float(rng.uniform(0, image.height - size))
        draw.ellipse((x, y, x + size, y + size), (255, 205, 40), (120, 80, 0), 3)
        for eye in (0.3, 0.62):
            left, top = x + eye * size, y + 0.3 * size
            draw.ellipse((left, top, left + size * 0.1, top + size * 0.15), (40, 20, 0))
        mouth = (x + 0.25 * size, y + 0.35 * size, x + 0.75 * size, y + 0.8 * size)
        draw.arc(mouth, 20, 160, (40, 20, 0), max(2, int(size / 18)))
    return image


def _screenshot(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """As a post in the window of an app: bars, lines of text, the picture in between."""
    width, height = image.size
    page = Image.new("RGB", (round(width * 1.25), round(height * 1.6)), (246, 247, 249))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, page.width, page.height * 0.07), (36, 60, 110))
    font = ImageFont.load_default(max(10, page.height // 34))
    draw.text((20, page.height * 0.02), "Photos   Albums   Search", "white", font)
    draw.ellipse((20, page.height * 0.085, 70, page.height * 0.085 + 50), (190, 120, 90))
    draw.text((90, page.height * 0.095), "Someone shared a photo, 2 h", "black", font)
    page.paste(image, ((page.width - width) // 2, round(page.height * 0.16)))
    for line in range(4):
        draw.text((20, page.height * (0.82 + 0.04 * line)), "What a day! " * 4, "black", font)
    page.thumbnail((1080, 1080))
    return page


def _perspective(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = image.size
    d = 0.12
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    target = source + np.array(
        [[d * width, d * height], [-0.03 * width, 0], [0, 0], [0, -d * height]], np.float32
    )
    matrix = cv2.getPerspectiveTransform(source, target)
    return Image.fromarray(
        cv2.warpPerspective(np.asarray(image), matrix, (width, height), borderValue=(128, 128, 128))
    )


EDITS: dict[str, Edit] = {
    "crop to 50 %": _cropped(0.5),
    "crop to 30 %": _cropped(0.3),
    "resize to a third": lambda i, _: i.resize((i.width // 3, i.height // 3)),
    "JPEG quality 20": _saved("JPEG", 20),
    "WebP quality 50": _saved("WEBP", 50),
    "brighter by 40 %": lambda i, _: ImageEnhance.Brightness(i).enhance(1.4),
    "darker by 40 %": lambda i, _: ImageEnhance.Brightness(i).enhance(0.6),
    "contrast x 1.6": lambda i, _: ImageEnhance.Contrast(i).enhance(1.6),
    "colour x 2": lambda i, _: ImageEnhance.Color(i).enhance(2.0),
    "grey": lambda i, _: ImageOps.grayscale(i).convert("RGB"),
    "blur (radius 2)": lambda i, _: i.filter(ImageFilter.GaussianBlur(2)),
    "noise (sigma 20)": _noise,
    "border of 8 %": lambda i, _: ImageOps.expand(i, round(i.width * 0.08), (20, 20, 20)),
    "text overlay": _text,
    "emoji overlay": _emoji,
    "mirror": lambda i, _: ImageOps.mirror(i),
    "rotation by 5": _turned(5),
    "rotation by 15": _turned(15),
    "rotation by 90": _turned(90),
    "rotation by 180": _turned(180),
    "screenshot": _screenshot,
    "perspective": _perspective,
}
"""`picture in picture` and `collage of four` need other pictures: see below."""
COMPOSITES = ("picture in picture", "collage of four")


def picture_in_picture(image: Image.Image, other: Image.Image) -> Image.Image:
    """Half of the area of another one."""
    base = other.resize((1000, 750))
    inner = image.copy()
    scale = (0.5 * base.width * base.height / (inner.width * inner.height)) ** 0.5
    scale = min(scale, base.width / inner.width, base.height / inner.height)
    inner = inner.resize((round(inner.width * scale), round(inner.height * scale)))
    base.paste(inner, ((base.width - inner.width) // 3, (base.height - inner.height) // 2))
    return base


def collage(image: Image.Image, others: list[Image.Image]) -> Image.Image:
    page = Image.new("RGB", (1000, 750))
    for place, each in enumerate([others[0], image, *others[1:3]]):
        tile = ImageOps.fit(each, (500, 375))
        page.paste(tile, (500 * (place % 2), 375 * (place // 2)))
    return page


# --- no copies ------------------------------------------------------------------------------


def neighbour(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """The next picture of a burst, simulated: the camera has moved, near things more than far
    ones (a smooth field of displacements of 1 % of the width), a subject has moved by 4 %, and the
    sensor's noise is another one."""
    high, wide = pixels.shape[:2]
    coarse = rng.normal(0, 1, (4, 5, 2)).astype(np.float32)
    field = cv2.resize(coarse, (wide, high), interpolation=cv2.INTER_CUBIC) * wide * 0.01
    y, x = np.mgrid[:high, :wide].astype(np.float32)
    centre = rng.uniform(0.3, 0.7, 2) * (wide, high)
    near = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * (wide * 0.12) ** 2))
    shift = rng.normal(0, 1, 2)
    shift *= 0.04 * wide / np.linalg.norm(shift)
    moved = cv2.remap(
        pixels,
        (x + field[..., 0] + near * shift[0]).astype(np.float32),
        (y + field[..., 1] + near * shift[1]).astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )
    noisy = moved.astype(np.float32) + rng.normal(0, 4, moved.shape)
    return np.asarray(noisy.clip(0, 255), np.uint8)


def other_hue(pixels: Pixels, rng: np.random.Generator) -> Pixels | None:
    """The most colourful thing of a photograph in another colour; None if there is none."""
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    strong = (hsv[..., 1] > max(90, np.percentile(hsv[..., 1], 60))) & (hsv[..., 2] > 60)
    if strong.mean() < 0.05:
        return None
    turned = (hsv[..., 0].astype(int) + int(rng.integers(45, 136))) % 180
    hsv[..., 0] = np.where(strong, turned, hsv[..., 0])
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def stereo_pair() -> tuple[Pixels, Pixels]:
    """Two real photographs of one scene, from places 19 cm apart (Middlebury, in scikit-image)."""
    package = find_spec("skimage")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "data"
    left, right = (
        np.asarray(Image.open(folder / f"motorcycle_{side}.png").convert("RGB"))
        for side in ("left", "right")
    )
    return left, right


def film_frames(file: Path, step: int = 12) -> list[Pixels]:
    film = cv2.VideoCapture(str(file))
    frames = []
    while True:
        ok, frame = film.read()
        if not ok:
            return frames[::step]
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))


def products(count: int) -> list[tuple[Pixels, Pixels]]:
    """A rendered product, and the same in another colour: same pose, same light."""
    pairs = []
    names = sorted(COLOURS)
    for index in range(count):
        made, _ = entry(index, 7)
        other = names[(names.index(made.colour) + 1 + index % (len(names) - 1)) % len(names)]
        drawn = [
            render(made.kind, colour, made.pattern, np.random.default_rng(index), (480, 400))
            for colour in (made.colour, other)
        ]
        pairs.append((np.asarray(drawn[0]), np.asarray(drawn[1])))
    return pairs
