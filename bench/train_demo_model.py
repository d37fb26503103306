"""Train the demo model from nothing, on pictures drawn for it, and write it into the package.

    python bench/train_demo_model.py [--pictures 24] [--steps 795] [--seed 1] [--quick] [--out DIR]

Pictures of the training combinations are drawn once (cached below the user's cache folder), then
the two towers learn together: pictures and sentences that are true of them come close (softmax
over all true pairs of a batch, both ways), and linear heads, thrown away afterwards, ask the image
vector for kind, colour and pattern. The weights kept are an exponential moving average.

The schedule counts steps, not minutes, so that the same flags train the same model however busy the
machine is. (The last bits still depend on the processor and on the number of threads.)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from torch.nn import functional

from lookalike_serving.demo.captions import Product, caption, split, vocabulary
from lookalike_serving.demo.model import WEIGHTS, build
from lookalike_serving.demo.products import COLOURS, KINDS, PATTERNS
from lookalike_serving.demo.render import render

SIDE = 72  # stored a little larger than the model's input, so that crops can shift
CONFIG: dict[str, object] = {
    "image_size": 64,
    "mean": [0.66, 0.63, 0.62],
    "std": [0.28, 0.28, 0.28],
    "context": 16,
    "widths": [24, 48, 96, 192],
    "text_width": 128,
    "text_layers": 2,
    "dimension": 128,
}
COLOUR_NAMES = tuple(COLOURS)

Pictures = NDArray[np.uint8]
"""(n, SIDE, SIDE, 3) RGB."""


def drawn_pictures(products: tuple[Product, ...], each: int, seed: int) -> Pictures:
    """`each` pictures of every product, in order, drawn by all cores, cached."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lookalike"
    home.mkdir(parents=True, exist_ok=True)
    source = b"".join(
        (WEIGHTS.parent / f"{name}.py").read_bytes()
        for name in ("render", "patterns", "products", "paths", "captions")
    )
    key = hashlib.sha256(source + f"{len(products)} {each} {seed} {SIDE}".encode()).hexdigest()[:12]
    file = home / f"demo-pictures-{key}.npy"
    if file.exists():
        cached: Pictures = np.load(file, mmap_mode="r")
        return cached
    jobs = [(p, each, seed * 1_000_003 + i) for i, p in enumerate(products)]
    pictures = np.empty((len(jobs) * each, SIDE, SIDE, 3), np.uint8)
    with ProcessPoolExecutor() as pool:
        for i, part in enumerate(pool.map(_draw, jobs, chunksize=16)):
            pictures[i * each : (i + 1) * each] = part
    np.save(file, pictures)
    return pictures


def _draw(job: tuple[Product, int, int]) -> Pictures:
    (kind, colour, pattern), each, seed = job
    rng = np.random.default_rng(seed)
    out = np.empty((each, SIDE, SIDE, 3), np.uint8)
    for i in range(each):
        long = int(rng.integers(80, 200))
        short = int(long * rng.choice([0.75, 0.8, 1.0, 1.0]))
        size = (long, short) if rng.random() < 0.5 else (short, long)
        picture = render(kind, colour, pattern, rng, size)
        out[i] = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return out


def augment(batch: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """(n, SIDE, SIDE, 3) uint8 -> (n, 3, size, size) normalised: shifted, scaled, mirrored, lit."""
    n = len(batch)
    x = batch.permute(0, 3, 1, 2).float() / 255
    scale = torch.empty(n).uniform_(0.86, 1.04, generator=generator)
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = scale * mirror
    theta[:, 1, 1] = scale * torch.empty(n).uniform_(0.95, 1.05, generator=generator)
    theta[:, :, 2] = torch.empty(n, 2).uniform_(-0.08, 0.08, generator=generator)
    grid = functional.affine_grid(theta, [n, 3, size, size], align_corners=False)
    x = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    x *= torch.empty(n, 1, 1, 1).uniform_(0.92, 1.08, generator=generator)
    x += torch.randn(x.shape, generator=generator) * 0.012
    return normalise(x)


def normalise(x: torch.Tensor) -> torch.Tensor:
    mean = torch.tensor(CONFIG["mean"])[:, None, None]
    std = torch.tensor(CONFIG["std"])[:, None, None]
    return (x.clamp(0, 1) - mean) / std


def matches(says: torch.Tensor, is_: torch.Tensor) -> torch.Tensor:
    """(texts, images) bool: what text i says is true of image j; -1 in `says` leaves it open."""
    same = says[:, None, :] == is_[None, :, :]
    return (same | (says[:, None, :] < 0)).all(-1)


def pair_loss(
    image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, true: torch.Tensor
) -> torch.Tensor:
    """Softmax cross-entropy over all true pairs, text -> image and image -> text."""
    logits = scale * text @ image.T
    target = true.float()
    forward = -(functional.log_softmax(logits, 1) * target / target.sum(1, keepdim=True)).sum(1)
    back = -(functional.log_softmax(logits, 0) * target / target.sum(0, keepdim=True)).sum(0)
    return (forward.mean() + back.mean()) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=24, help="of each training combination")
    parser.add_argument("--steps", type=int, default=795, help="of training")
    parser.add_argument("--batch", type=int, default=320)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--quick", action="store_true", help="a minute's smoke test; writes nothing"
    )
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    if options.quick:
        options.pictures, options.steps = 2, 8

    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    products, _ = split()
    started = time.monotonic()
    pictures = torch.from_numpy(np.array(drawn_pictures(products, options.pictures, options.seed)))
    print(
        f"{len(pictures)} pictures of {len(products)} combinations, "
        f"{time.monotonic() - started:.0f} s",
        flush=True,
    )
    truth = torch.tensor(
        [[KINDS.index(k), COLOUR_NAMES.index(c), PATTERNS.index(p)] for k, c, p in products]
    ).repeat_interleave(options.pictures, 0)

    config = {**CONFIG, "words": list(vocabulary())}
    model, tokenizer, preprocess = build(config)
    heads = torch.nn.ModuleList(
        torch.nn.Linear(128, n) for n in (len(KINDS), len(COLOURS), len(PATTERNS))
    )
    model = model.to(memory_format=torch.channels_last)
    parameters = [*model.parameters(), *heads.parameters()]
    decay = [p for p in parameters if p.ndim > 1]
    rest = [p for p in parameters if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}],
        lr=options.rate,
    )
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)

    begun = time.monotonic()
    for step in range(options.steps):
        gone, warm = step / options.steps, min(1.0, (step + 1) / 100)
        for group in optimiser.param_groups:
            group["lr"] = options.rate * warm * (0.5 + 0.5 * math.cos(math.pi * gone)) + 1e-5
        chosen = rng.integers(0, len(pictures), options.batch)
        sentences = [caption(products[i // options.pictures], rng) for i in chosen]
        says = torch.tensor(
            [
                [
                    KINDS.index(s.kind) if s.kind else -1,
                    COLOUR_NAMES.index(s.colour) if s.colour else -1,
                    PATTERNS.index(s.pattern) if s.pattern else -1,
                ]
                for s in sentences
            ]
        )
        is_ = truth[chosen]
        x = augment(pictures[chosen], preprocess.image_size, generator)
        tokens = tokenizer([s.text for s in sentences])
        image = model.encode_image(x.contiguous(memory_format=torch.channels_last))
        text = model.encode_text(tokens)
        loss = pair_loss(image, text, model.logit_scale.exp().clamp(max=60), matches(says, is_))
        extra = torch.stack(
            [functional.cross_entropy(h(image * 12), is_[:, i]) for i, h in enumerate(heads)]
        ).sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss + 0.5 * extra)
        torch.nn.utils.clip_grad_norm_(parameters, 2.0)
        optimiser.step()
        keep = min(0.998, (step + 1) / (step + 20))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - keep)
            else:
                average[name].copy_(value)
        if (step + 1) % 100 == 0 or step + 1 == options.steps:
            print(
                f"{time.monotonic() - begun:5.0f} s  step {step + 1}  pairs {loss.item():.3f}  "
                f"heads {extra.item():.3f}  scale {model.logit_scale.exp().item():.1f}",
                flush=True,
            )
    if not options.quick:
        config["training"] = {
            "seed": options.seed,
            "pictures_each": options.pictures,
            "batch": options.batch,
            "rate": options.rate,
            "steps": options.steps,
        }
        write(options.out, average, config)


def write(
    out: Path,
    state: dict[str, torch.Tensor],
    config: dict[str, object],
) -> None:
    """Weights (half precision) and config with their checksum, each replaced in one step."""
    out.mkdir(parents=True, exist_ok=True)
    small = {n: (t.half() if t.is_floating_point() else t).contiguous() for n, t in state.items()}
    data = save(small)
    final = {**config, "sha256": hashlib.sha256(data).hexdigest()}
    for name, content in (
        ("demo-clip.safetensors", data),
        ("config.json", json.dumps(final, indent=1).encode() + b"\n"),
    ):
        scratch = out / f".{name}"
        scratch.write_bytes(content)
        scratch.replace(out / name)
    print(f"wrote {out.name}: {len(data) / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
