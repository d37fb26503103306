"""How well the demo model retrieves, on products it never saw, beside three baselines.

    python bench/quality.py [--each 18] [--among 4] [--queries 400] [--seed 90001]

The gallery holds fresh pictures of the held-out combinations of kind, colour and pattern alone
(at least 10,000, `--each` of every combination); none of these combinations was in training, nor
was the seed. Three tasks, each query with at least ten relevant pictures:

- text -> image: "<colour> <pattern> <kind>"; relevant: pictures of that combination.
- image -> image: one picture, itself left out; relevant: the other pictures of its combination.
- image + text: a picture plus "<colour>", minus its own colour's word; relevant: pictures of the
  same kind and pattern in that colour, where that combination is in the gallery.

P@10: relevant among the first ten, over ten. R@10: the same over min(10, relevant); equal to P@10
here, since every query has ten. mAP: mean average precision over the whole gallery. Baselines:
chance (expected), a colour histogram (image -> image), the same network with random weights. All
rows of a task answer the same queries.

Then the same queries over a harder gallery: with `--among` pictures of every training combination
added, none relevant. A model that leans towards what it was trained on loses here. Then: what the
index loses against exact search.

All texts are English. Last come the languages that the models of `lookalike models` claim, none of
which is measured here.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lookalike_crds.config import CollectionConfig, IndexConfig
from lookalike_crds.image_collection import Engine, ModelSpec, VectorSpec
from lookalike_serving.demo.captions import Product, split
from lookalike_serving.demo.model import DemoModel, build_like, load_demo_model
from lookalike_serving.demo.products import COLOURS
from lookalike_serving.demo.render import render
from lookalike_serving.documents.ids import point_id
from lookalike_serving.embed.catalogue import CATALOGUE
from lookalike_serving.index import Point, Query, open_index

Vectors = NDArray[np.float32]


def draw(job: tuple[Product, int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """(each, s, s, 3) pictures as the model sees them, and their colour histograms."""
    (kind, colour, pattern), each, seed, side = job
    rng = np.random.default_rng(seed)
    pictures, histograms = [], []
    for _ in range(each):
        long = int(rng.integers(120, 260))
        size = (long, int(long * rng.choice([0.75, 0.8, 1.0])))
        picture = render(kind, colour, pattern, rng, size if rng.random() < 0.5 else size[::-1])
        pictures.append(np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC)))
        small = np.asarray(picture.resize((48, 48))).reshape(-1, 3) // 32
        bins = np.bincount(small @ np.array([64, 8, 1]), minlength=512).astype(np.float32)
        histograms.append(np.sqrt(bins / bins.sum()))  # Hellinger: cosine compares distributions
    return np.stack(pictures), np.stack(histograms)


def images(model: DemoModel, pictures: NDArray[np.uint8]) -> Vectors:
    mean = torch.tensor(model.preprocess.mean)[:, None, None]
    std = torch.tensor(model.preprocess.std)[:, None, None]
    out = []
    with torch.inference_mode():
        for start in range(0, len(pictures), 256):
            x = torch.from_numpy(pictures[start : start + 256]).permute(0, 3, 1, 2).float() / 255
            out.append(model.model.encode_image((x - mean) / std).numpy())
    return np.concatenate(out)


def texts(model: DemoModel, sentences: list[str]) -> Vectors:
    with torch.inference_mode():
        return model.model.encode_text(model.tokenizer(sentences)).numpy()


class Scores:
    """Means over queries."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, float]] = []

    def add(self, scores: Vectors, relevant: NDArray[np.bool_], leave_out: int | None) -> None:
        if leave_out is not None:
            scores = np.delete(scores, leave_out)
            relevant = np.delete(relevant, leave_out)
        hit = relevant[np.argsort(-scores, kind="stable")]
        found, total = int(hit[:10].sum()), int(hit.sum())
        ranks = np.flatnonzero(hit) + 1
        precision = float(np.mean(np.arange(1, total + 1) / ranks))
        self.rows.append((found / 10, found / min(10, total), precision))

    def __str__(self) -> str:
        p, r, m = np.mean(self.rows, 0)
        return f"P@10 {p:.3f}  R@10 {r:.3f}  mAP {m:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=18, help="pictures of each combination")
    parser.add_argument("--among", type=int, default=4, help="pictures of each training product")
    parser.add_argument("--queries", type=int, default=400, help="of each task")
    parser.add_argument("--seed", type=int, default=90001)
    options = parser.parse_args()

    model = load_demo_model()
    torch.manual_seed(0)
    random = build_like(model)
    train, held = split()
    assert not set(train) & set(held)
    side = model.preprocess.image_size
    jobs = [(p, options.each, options.seed * 7919 + i, side) for i, p in enumerate(held)]
    trained = [(p, options.among, options.seed * 7919 + len(held) + i) for i, p in enumerate(train)]
    with ProcessPoolExecutor() as pool:
        drawn = list(pool.map(draw, jobs, chunksize=8))
        others = list(pool.map(draw, [(*job, side) for job in trained if job[1]], chunksize=8))
    pictures = np.concatenate([d[0] for d in drawn])
    histograms = np.concatenate([d[1] for d in drawn])
    owner = np.repeat(np.arange(len(held)), options.each)
    print(f"{len(pictures)} pictures of {len(held)} held-out combinations, {options.each} each")

    gallery, unlearned = images(model, pictures), images(random, pictures)
    rng = np.random.default_rng(options.seed)
    named = rng.permutation(len(held))[: options.queries]
    shown = rng.permutation(len(pictures))[: options.queries]
    number = {product: i for i, product in enumerate(held)}
    changes = [
        (i, number[(kind, other, pattern)])
        for i, (kind, colour, pattern) in enumerate(held)
        for other in COLOURS
        if other != colour and (kind, other, pattern) in number
    ]
    changes = [changes[i] for i in rng.permutation(len(changes))[: options.queries]]
    examples = [b * options.each + int(rng.integers(options.each)) for b, _ in changes]

    def report(task: str, name: str, run: Callable[[Scores], None]) -> None:
        scores = Scores()
        run(scores)
        print(f"{task:14} {name:16} {scores}  ({len(scores.rows)} queries)", flush=True)

    def text_to_image(scores: Scores, who: DemoModel, vectors: Vectors) -> None:
        said = texts(who, [" ".join((held[i][1], held[i][2], held[i][0])) for i in named])
        for i, vector in zip(named, said, strict=True):
            scores.add(vectors @ vector, owner == i, None)

    def image_to_image(scores: Scores, vectors: Vectors) -> None:
        for i in shown:
            scores.add(vectors @ vectors[i], owner == owner[i], int(i))

    def image_and_text(scores: Scores, who: DemoModel, vectors: Vectors) -> None:
        plus = texts(who, [held[after][1] for _, after in changes])
        minus = texts(who, [held[before][1] for before, _ in changes])
        for (_, after), example, more, less in zip(changes, examples, plus, minus, strict=True):
            scores.add(vectors @ (vectors[example] + more - less), owner == after, example)

    report("text->image", "demo model", lambda s: text_to_image(s, model, gallery))
    report("text->image", "random weights", lambda s: text_to_image(s, random, unlearned))
    report("image->image", "demo model", lambda s: image_to_image(s, gallery))
    report("image->image", "colour histogram", lambda s: image_to_image(s, histograms))
    report("image->image", "random weights", lambda s: image_to_image(s, unlearned))
    report("image+text", "demo model", lambda s: image_and_text(s, model, gallery))
    report("image+text", "random weights", lambda s: image_and_text(s, random, unlearned))
    chance = options.each / len(pictures)
    print(f"{'any':14} {'chance':16} P@10 {chance:.3f}  R@10 {chance:.3f}  mAP {chance:.3f}")

    if others:
        crowd = np.concatenate([d[0] for d in others])
        print(f"the same queries among {len(crowd)} more pictures, of every training combination")
        whole = np.concatenate([gallery, images(model, crowd)])
        owner = np.concatenate([owner, np.full(len(crowd), -1)])
        report("text->image", "demo model", lambda s: text_to_image(s, model, whole))
        report("image->image", "demo model", lambda s: image_to_image(s, whole))
        report("image+text", "demo model", lambda s: image_and_text(s, model, whole))
    asyncio.run(index_loss(gallery, model.sha256))
    print("Languages: the figures above are of English words and the demo model alone.")
    print("Claimed by the models' publishers, and not measured here:")
    for line in claimed_languages():
        print(f"  {line}")


def claimed_languages() -> list[str]:
    """What the models that are worth knowing are said to read."""
    by_claim: dict[str, list[str]] = {}
    for each in CATALOGUE:
        claim = f"{each.provider}: {each.languages or 'no texts'}"
        by_claim.setdefault(claim, []).append(each.name or each.provider)
    return [f"{claim} ({', '.join(names)})" for claim, names in by_claim.items()]


async def index_loss(gallery: Vectors, fingerprint: str) -> None:
    """recall@10 of the Edge index against exact search over the same vectors."""
    with tempfile.TemporaryDirectory() as folder:
        config = CollectionConfig(
            name="quality",
            model=ModelSpec(),
            vector=VectorSpec(),
            index=IndexConfig(engine=Engine.EDGE, name="quality", path=Path(folder) / "shard"),
        )
        index = await open_index(config, dimension=gallery.shape[1], fingerprint=fingerprint)
        ids = [point_id("quality", str(i)) for i in range(len(gallery))]
        for start in range(0, len(ids), 1000):
            part = slice(start, start + 1000)
            pairs = zip(ids[part], gallery[part], strict=True)
            await index.upsert([Point(id_, vector, {}) for id_, vector in pairs])
        await index.optimize()
        found = total = 0
        for query in gallery[:: max(1, len(gallery) // 500)]:
            exact = {ids[i] for i in np.argsort(-(gallery @ query), kind="stable")[:10]}
            hits = await index.query(Query(vector=query, limit=10, with_payload=False))
            found += len(exact & {h.id for h in hits})
            total += 10
        await index.close()
    print(f"index: recall@10 against exact search {found / total:.4f}")


if __name__ == "__main__":
    main()
