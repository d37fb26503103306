"""Images and texts to compare and time the ways of computing with.

Two kinds of images, because a number format shows its weakness on some and not on others: drawn
products of the demo catalogue, with flat areas and sharp edges, and textures whose frequencies fall
off as in photographs (1/f; Field 1987).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from lookalike_serving.demo.catalogue import entry
from lookalike_serving.demo.render import render
from lookalike_serving.embed.protocol import Pixels

_SIDE = 320
_TEXTS = [
    "a red striped mug",
    "shoes",
    "a photo of a blue canvas bag with two leather straps, on a white table in the sun",
    "an old oak chair",
    "two cats on a sofa",
    "ein grünes Fahrrad vor einer Mauer",
    "x",
    "night view of a harbour: cranes, containers and one small boat with its lights on",
]


def sample_texts() -> list[str]:
    return list(_TEXTS)


@cache
def sample_images() -> tuple[Pixels, ...]:
    """Eight of (h, w, 3) uint8."""
    return (*_products(4), *(_texture(seed) for seed in range(4)))


def _products(count: int) -> list[Pixels]:
    pictures = []
    for index in range(count):
        drawn, rng = entry(index, seed=0)
        picture = render(drawn.kind, drawn.colour, drawn.pattern, rng, (_SIDE, _SIDE))
        pictures.append(np.asarray(picture))
    return pictures


def _texture(seed: int) -> Pixels:
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(_SIDE)[:, None], np.fft.fftfreq(_SIDE)[None, :])
    frequency[0, 0] = 1 / _SIDE
    noise = np.fft.fft2(rng.normal(size=(3, _SIDE, _SIDE)))
    planes = np.fft.ifft2(noise / frequency).real
    # The three colours of a place are alike, as in photographs.
    planes = 0.7 * planes.mean(axis=0) + 0.3 * planes
    planes = 128 + 60 * (planes - planes.mean()) / planes.std()
    return np.ascontiguousarray(planes.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
