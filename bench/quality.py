"""How well the demo model retrieves, on products it never saw, beside three baselines.

    python bench/quality.py [--each 18] [--among 4] [--queries 400] [--seed 90001] [--json FILE]

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

These texts are English. text -> image is measured in each language of the demo model, over the
first gallery, twice: the usual words of each product, inflected and in the order of the language
("words"; English is the row of the table above), and any synonyms in sentences of forms that no
training sentence has ("sentences", in parts with words that the model does not know). Last come the
languages that the models of `lookalike models` claim, which are not measured here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lookalike_crds.config import CollectionConfig, IndexConfig
from lookalike_crds.image_collection import Engine, ModelSpec, VectorSpec
from lookalike_serving.demo.captions import Product, split
from lookalike_serving.demo.languages import LANGUAGES, Language, Said
from lookalike_serving.demo.model import DemoModel, build_like, load_demo_model
from lookalike_serving.demo.products import COLOURS
from lookalike_serving.demo.render import render
from lookalike_serving.documents.ids import point_id
from lookalike_serving.embed.catalogue import CATALOGUE
from lookalike_serving.index import Point, Query, open_index

Vectors = NDArray[np.float32]
english = LANGUAGES[0].plain


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

    def means(self) -> dict[str, float]:
        return dict(zip(("P@10", "R@10", "mAP"), np.mean(self.rows, 0).tolist(), strict=True))

    def __str__(self) -> str:
        return "  ".join(f"{name} {mean:.3f}" for name, mean in self.means().items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=18, help="pictures of each combination")
    parser.add_argument("--among", type=int, default=4, help="pictures of each training product")
    parser.add_argument("--queries", type=int, default=400, help="of each task")
    parser.add_argument("--seed", type=int, default=90001)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
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

    figures: list[dict[str, object]] = []

    def report(task: str, name: str, run: Callable[[Scores], None], gallery: str = "") -> None:
        scores = Scores()
        run(scores)
        figures.append(
            {"task": task, "row": name, "gallery": gallery or "held out", **scores.means()}
        )
        print(f"{task:14} {name:20} {scores}  ({len(scores.rows)} queries)", flush=True)

    def text_to_image(
        scores: Scores, who: DemoModel, vectors: Vectors, say: Callable[[Said], str] = english
    ) -> None:
        said = texts(who, [say(Said(*held[i])) for i in named])
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
    figures.append({"task": "any", "row": "chance", "P@10": chance, "R@10": chance, "mAP": chance})
    print(f"{'any':14} {'chance':20} P@10 {chance:.3f}  R@10 {chance:.3f}  mAP {chance:.3f}")

    def in_words(scores: Scores, language: Language) -> None:
        text_to_image(scores, model, gallery, language.plain)

    def in_sentences(scores: Scores, language: Language) -> None:
        forms = np.random.default_rng(options.seed)
        text_to_image(scores, model, gallery, lambda said: language.unseen(said, forms))

    for each in LANGUAGES:
        report("text->image", f"{each.name}, words", partial(in_words, language=each))
        report("text->image", f"{each.name}, sentences", partial(in_sentences, language=each))

    if others:
        crowd = np.concatenate([d[0] for d in others])
        print(f"the same queries among {len(crowd)} more pictures, of every training combination")
        whole = np.concatenate([gallery, images(model, crowd)])
        owner = np.concatenate([owner, np.full(len(crowd), -1)])
        report("text->image", "demo model", lambda s: text_to_image(s, model, whole), "all")
        report("image->image", "demo model", lambda s: image_to_image(s, whole), "all")
        report("image+text", "demo model", lambda s: image_and_text(s, model, whole), "all")
    asyncio.run(index_loss(gallery, model.space))
    print("Languages of other models, as their publishers claim them; not measured here:")
    for line in claimed_languages():
        print(f"  {line}")
    if options.json:
        claims = {"claimed, not measured here": claimed_languages()}
        told = {"pictures": len(pictures), "figures": figures, "languages": claims}
        options.json.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def claimed_languages() -> list[str]:
    """What the models that are worth knowing are said to read, apart from the demo model."""
    by_claim: dict[str, list[str]] = {}
    for each in CATALOGUE:
        if each.provider == "Demo":
            continue
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
