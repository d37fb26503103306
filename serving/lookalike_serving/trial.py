"""One model tried on pictures of a collection: how it ranks them, how fast, with how much memory.

    python -m lookalike_serving.trial FILE

FILE has a `Trial` as JSON; a `Tried` is written to standard output. Each model is tried by a
process of its own, so that the memory is that of one model, and a model that crashes ends nothing
else.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from lookalike_crds.image_collection import Distance, ModelSpec
from lookalike_serving.embed.load import load_embedder
from lookalike_serving.embed.protocol import Embedder, ModelError, Tensor, Vectors
from lookalike_serving.images.decode import decode_image
from lookalike_serving.images.errors import ImageError
from lookalike_serving.machine.cpus import usable_cpus

_BATCH = 32
_TIMED = 20
"""Pictures and texts that are embedded one by one, to measure the time of each."""
_MIB = 1 << 20


class TrialQuery(BaseModel):
    kind: Literal["text", "image", "document"]
    value: str
    """The text, the path of a file, or the id of a document, which is left out of its results."""
    among: frozenset[str] | None = None
    """Ids of the documents that are searched; None: all."""


class Trial(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model: ModelSpec
    cache_dir: Path
    distance: Distance
    documents: dict[str, Path]
    """The file of each document's picture, by the document's id."""
    queries: list[TrialQuery]
    depth: int
    """Results of each query."""


class Tried(BaseModel):
    name: str
    weights: str | None
    dimension: int
    device: str
    precision: str
    reads_texts: bool
    rankings: list[list[str] | None]
    """The ids of the results of each query, best first; None: the model cannot answer it."""
    unread: list[str]
    """Ids of documents whose picture cannot be decoded."""
    load_seconds: float
    image_ms: float | None
    """Median time of one picture, from its pixels to its vector."""
    text_ms: float | None
    images_per_second: float
    """Of all pictures, in batches, with decoding."""
    memory_mib: float
    """Peak of the process."""


def attempt(trial: Trial) -> Tried:
    """Raises ModelError."""
    began = time.perf_counter()
    model = load_embedder(trial.model, trial.cache_dir)
    loaded = time.perf_counter()
    ids, vectors = _embedded(model, list(trial.documents.items()))
    seconds = time.perf_counter() - loaded
    if not ids:
        raise ModelError("no picture of the sample can be decoded")
    info = model.info
    queries = _query_vectors(model, trial, dict(zip(ids, vectors, strict=True)))
    score = _scores(trial.distance)
    rankings = [
        None if vector is None else _ranking(query, score(vectors, vector), ids, trial.depth)
        for query, vector in zip(trial.queries, queries, strict=True)
    ]
    files = list(islice(trial.documents.values(), _TIMED))
    pixels = [tensor for tensor in map(_tensor_of(model), files) if tensor is not None]
    texts = [query.value for query in trial.queries if query.kind == "text"][:_TIMED]
    return Tried(
        name=info.name,
        weights=info.weights,
        dimension=info.dimension,
        device=info.device,
        precision=info.precision,
        reads_texts=info.supports_text,
        rankings=rankings,
        unread=sorted(trial.documents.keys() - set(ids)),
        load_seconds=loaded - began,
        image_ms=_median_ms(lambda each: model.embed_pixels([each]), pixels),
        text_ms=_median_ms(
            lambda each: model.embed_texts([each]), texts if info.supports_text else []
        ),
        images_per_second=len(ids) / seconds,
        memory_mib=_peak_mib(),
    )


def _tensor_of(model: Embedder) -> Callable[[Path], Tensor | None]:
    """Reads a file as the model needs it; None if it is no picture."""

    def tensor(file: Path) -> Tensor | None:
        try:
            image = decode_image(file.read_bytes(), min_side=model.info.min_side)
        except (ImageError, OSError):
            return None
        return model.preprocess(image.pixels, image.box)

    return tensor


def _embedded(model: Embedder, files: Sequence[tuple[str, Path]]) -> tuple[list[str], Vectors]:
    """(names of those that can be decoded, their vectors). Decoding runs beside the model."""
    names: list[str] = []
    found: list[Vectors] = [np.zeros((0, model.info.dimension), np.float32)]
    tensor = _tensor_of(model)
    with ThreadPoolExecutor(usable_cpus()) as threads:
        following = [threads.submit(tensor, file) for _, file in files[: 2 * _BATCH]]
        for low in range(0, len(files), _BATCH):
            some = files[low : low + _BATCH]
            tensors = [each.result() for each in following[:_BATCH]]
            more = files[low + 2 * _BATCH : low + 3 * _BATCH]
            following = following[_BATCH:] + [threads.submit(tensor, file) for _, file in more]
            kept = [
                (name, made)
                for (name, _), made in zip(some, tensors, strict=True)
                if made is not None
            ]
            if kept:
                names += [name for name, _ in kept]
                found.append(model.embed_pixels([made for _, made in kept]))
    return names, np.concatenate(found)


def _query_vectors(model: Embedder, trial: Trial, documents: dict[str, Any]) -> list[Any]:
    """The vector of each query, or None."""
    texts = [query.value for query in trial.queries if query.kind == "text"]
    by_text: dict[str, Any] = {}
    if model.info.supports_text:
        for some in _chunks(list(dict.fromkeys(texts))):
            by_text |= dict(zip(some, model.embed_texts(some), strict=True))
    files = dict.fromkeys(query.value for query in trial.queries if query.kind == "image")
    names, vectors = _embedded(model, [(file, Path(file)) for file in files])
    by_file = dict(zip(names, vectors, strict=True))
    found = {"text": by_text, "image": by_file, "document": documents}
    return [found[query.kind].get(query.value) for query in trial.queries]


def _scores(distance: Distance) -> Callable[[Vectors, Any], Any]:
    """Of every vector with one; higher is better."""
    if distance is Distance.DOT:
        return lambda vectors, one: vectors @ one
    if distance is Distance.EUCLID:
        return lambda vectors, one: -np.linalg.norm(vectors - one, axis=1)

    def cosine(vectors: Vectors, one: Any) -> Any:
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(one)
        return (vectors @ one) / np.maximum(lengths, 1e-12)

    return cosine


def _ranking(query: TrialQuery, scores: Any, ids: Sequence[str], depth: int) -> list[str]:
    best = (ids[at] for at in np.argsort(-scores, kind="stable"))
    itself = query.value if query.kind == "document" else None
    wanted = (id for id in best if id != itself and (query.among is None or id in query.among))
    return list(islice(wanted, depth))


def _median_ms(call: Callable[[Any], object], values: Sequence[Any]) -> float | None:
    """The first call is not counted: it may build something."""
    times = []
    for value in (*values[:1], *values):
        began = time.perf_counter()
        call(value)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:]) * 1000 if values else None


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; bytes on macOS
    return peak / _MIB if sys.platform == "darwin" else peak / 1024


def _chunks(values: list[str]) -> Iterator[list[str]]:
    return (values[low : low + _BATCH] for low in range(0, len(values), _BATCH))


def main() -> None:
    trial = Trial.model_validate_json(Path(sys.argv[1]).read_bytes())
    out = sys.stdout
    sys.stdout = sys.stderr  # what a library prints is no result
    try:
        tried = attempt(trial)
    except ModelError as error:
        raise SystemExit(str(error)) from None
    out.write(tried.model_dump_json())


if __name__ == "__main__":
    main()
