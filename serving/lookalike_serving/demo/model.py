"""The demo model: a small CLIP for the catalogue's world, trained by `bench/train_demo_model.py`.

A convolutional image tower and a word-level text tower share one space, as in CLIP (Radford et al.
2021). It is small enough to ship with the package and to run on any CPU, and knows only what the
catalogue shows, in five languages: see docs/demo-model.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn
from torch.nn import functional

from lookalike_serving.demo.tokenizer import PADDING, Tokenizer

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a picture becomes the model's input: squashed to a square, antialiased, normalised."""

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut; the first halves the resolution."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, 2, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Conv2d(before, after, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return functional.relu(y + self.shortcut(functional.avg_pool2d(x, 2)))


class ImageTower(nn.Module):
    def __init__(self, widths: Sequence[int], dimension: int) -> None:
        super().__init__()
        first, *rest = widths
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 3, 2, 1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, first, 3, 1, 1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(
            *(Block(a, b) for a, b in zip(widths, rest, strict=False)),
        )
        # Mean and maximum: a pattern is everywhere, a handle is in one place.
        self.project = nn.Linear(2 * widths[-1], dimension)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.blocks(self.stem(pixels))
        vectors: Tensor = self.project(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))
        return vectors


class TextTower(nn.Module):
    def __init__(self, words: int, context: int, width: int, layers: int, dimension: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words + 1, width, padding_idx=PADDING)
        self.position = nn.Parameter(torch.randn(context, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, dimension)

    def forward(self, tokens: Tensor) -> Tensor:
        padding = tokens == PADDING
        # A text without a known word still needs a defined, finite vector.
        padding[:, 0] = False
        x = self.layers(
            self.embedding(tokens) + self.position[: tokens.shape[1]], src_key_padding_mask=padding
        )
        keep = (~padding)[..., None].to(x.dtype)
        vectors: Tensor = self.project(self.norm((x * keep).sum(1) / keep.sum(1)))
        return vectors


class DemoClip(nn.Module):
    """Both towers. Vectors are L2-normalised."""

    def __init__(
        self,
        words: int,
        context: int,
        widths: Sequence[int],
        text_width: int,
        text_layers: int,
        dimension: int,
    ) -> None:
        super().__init__()
        self.image = ImageTower(widths, dimension)
        self.text = TextTower(words, context, text_width, text_layers, dimension)
        self.logit_scale = nn.Parameter(torch.tensor(10.0).log())

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(n, 3, s, s) normalised float -> (n, d)."""
        return functional.normalize(self.image(pixels), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """(n, context) int64 -> (n, d)."""
        return functional.normalize(self.text(tokens), dim=-1)


class CorruptWeights(Exception):
    """The weights beside this file are not the ones the package was made with."""


@dataclass(frozen=True, slots=True)
class DemoModel:
    model: DemoClip
    tokenizer: Tokenizer
    preprocess: Preprocess
    sha256: str
    """Of the weights file."""
    space: str
    """Names the space of its vectors: the SHA-256 of the weights file that the image tower and the
    English words were first published in. Words that are added later leave both as they were."""
    languages: tuple[str, ...]
    """Whose words it knows, by their English names."""


def build(config: dict[str, object]) -> tuple[DemoClip, Tokenizer, Preprocess]:
    """The untrained network, tokenizer and preprocessing that a config describes."""
    words = config["words"]
    widths = config["widths"]
    assert isinstance(words, list)
    assert isinstance(widths, list)
    context = int(str(config["context"]))
    model = DemoClip(
        len(words),
        context,
        widths,
        int(str(config["text_width"])),
        int(str(config["text_layers"])),
        int(str(config["dimension"])),
    )
    mean, std = config["mean"], config["std"]
    assert isinstance(mean, list)
    assert isinstance(std, list)
    preprocess = Preprocess(
        int(str(config["image_size"])), (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
    )
    fillers = config.get("fillers", [])
    assert isinstance(fillers, list)
    return model, Tokenizer(words, context, fillers), preprocess


def load_demo_model(folder: Path = WEIGHTS) -> DemoModel:
    """The shipped model, float32, on the CPU, ready to run.

    Raises CorruptWeights if the file does not match the checksum in config.json.
    """
    config = json.loads((folder / "config.json").read_text())
    data = (folder / "demo-clip.safetensors").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != config["sha256"]:
        raise CorruptWeights(
            f"{folder / 'demo-clip.safetensors'} is damaged: its SHA-256 is {digest}, not "
            f"{config['sha256']}. Install lookalike again."
        )
    model, tokenizer, preprocess = build(config)
    model.load_state_dict(
        {
            name: t.float() if t.is_floating_point() else t
            for name, t in load_safetensors(data).items()
        }
    )
    return DemoModel(
        model.eval(),
        tokenizer,
        preprocess,
        digest,
        config.get("space", digest),
        tuple(config.get("languages", ["English"])),
    )


def build_like(loaded: DemoModel) -> DemoModel:
    """The same network with untrained weights: a baseline."""
    model, _, _ = build(json.loads((WEIGHTS / "config.json").read_text()))
    return replace(loaded, model=model.eval())
