"""Random sequences of changes of the model, with uploads, changes and deletions in between: each
document is in the index that answers exactly once, as it was stored last."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from changing import collection, config
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from tests.support.pictures import encoded, plain

from lookalike_crds.config import ServingConfig
from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_crds.moments import now_text
from lookalike_serving.adoption import Adoption
from lookalike_serving.catching_up import CatchingUp
from lookalike_serving.documents.layout import split
from lookalike_serving.documents.stored import change_metadata, remove_document
from lookalike_serving.documents.upload import store_document
from lookalike_serving.images import ImageFile
from lookalike_serving.service import Service

COLOURS = ("red", "green", "blue")
MODELS = """
class Model1:
    size, version = 8, "1"
    sign = 1
    def __init__(self, weights): pass
    def embed_images(self, images): return self.sign * (images.mean((1, 2)) - 100)
class Model2(Model1):
    sign = -1
class Model3(Model1):
    def embed_images(self, images): return super().embed_images(images)[:, [1, 2, 0]]
"""
SEEN: dict[str, Callable[[Any], str]] = {
    "1": lambda vector: COLOURS[vector.argmax()],
    "2": lambda vector: COLOURS[vector.argmin()],
    "3": lambda vector: COLOURS[(vector.argmax() + 1) % 3],
}
"""Which colour a vector of each model stands for."""


@dataclass(frozen=True)
class Upload:
    document: str
    colour: str
    price: int


@dataclass(frozen=True)
class Change:
    document: str
    price: int


@dataclass(frozen=True)
class Delete:
    document: str


@dataclass(frozen=True)
class To:
    """Another model, or one of before; its index may be being filled, or half filled since."""

    index: int
    filled: bool
    """A run has filled its index, and ended well."""


@dataclass(frozen=True)
class Finish:
    """The end of the last run is noticed."""


@dataclass(frozen=True)
class Restart:
    pass


names, prices = st.sampled_from("abc"), st.integers(1, 3)
documents = (
    st.builds(Upload, names, st.sampled_from(COLOURS), prices)
    | st.builds(Change, names, prices)
    | st.builds(Delete, names)
)
changes = st.builds(To, st.integers(1, 3), st.booleans())
ends = st.just(Finish()) | st.just(Restart())
steps = st.lists(documents | changes | ends, min_size=6, max_size=12)


@cache
def image(colour: str) -> bytes:
    return encoded(plain(colour, (16, 16)))


class Shop:
    """A service, and what is to be in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.expected: dict[str, tuple[str, int]] = {}
        self.since: str | None = None

    def config(self, index: int) -> ServingConfig:
        model = ModelSpec(provider=Provider.PLUGIN, name=f"{self.folder}/models.py:Model{index}")
        name = f"shop-0000000{index}"
        changes = {"sources": (), "model": model}
        return config(self.folder, collection(self.folder, "shop", name, **changes))

    async def start(self, wanted: ServingConfig) -> None:
        self.service = await Service.start(wanted)
        self.service.closing.grace_seconds = 0
        self.adoption = Adoption(self.service)

    async def do(self, step: object) -> None:
        service, stored = self.service, self.expected
        match step:
            case Upload(name, colour, price):
                picture = ImageFile.of(image(colour))
                await store_document(service, "shop", picture, {"price": price}, name)
                stored[name] = (colour, price)
            case Change(name, price) if name in stored:
                await change_metadata(service, "shop", name, {"price": price})
                stored[name] = (stored[name][0], price)
            case Delete(name) if name in stored:
                await remove_document(service, "shop", name)
                del stored[name]
            case To(index, filled):
                await self.adoption.take(self.config(index))
                self.since = None
                if filled and service.config.filling:
                    new = await service.being_filled("shop")
                    self.since = now_text("milliseconds")
                    filling = CatchingUp(service, service.collections["shop"], new)
                    assert not await filling.until_level("")
            case Finish() if self.since is not None:
                await self.adoption.finish("shop", since=self.since)
                self.since = None
            case Restart():
                await service.close()
                await self.start(service.config)

    async def check(self) -> None:
        state = self.service.collections["shop"]
        page = await state.index.scroll(limit=100, with_vector=True)
        found = {}
        for record in page.records:
            metadata, origin = split(record.payload)
            assert origin.document_id not in found
            colour = SEEN[state.config.model.name[-1]](record.vector)
            found[origin.document_id] = (colour, metadata["price"])
            assert await self.service.images.get(origin.image)
        assert found == self.expected


UPLOADS = [Upload("a", "red", 1), Upload("b", "green", 1)]
MEANWHILE = [Delete("a"), Upload("b", "blue", 2), Upload("c", "green", 1)]


@settings(max_examples=10, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@example([*UPLOADS, To(2, filled=True), *MEANWHILE, Finish()])
@example([*UPLOADS, To(2, filled=True), To(1, filled=False), *MEANWHILE, To(2, True), Finish()])
@given(steps)
def test_every_document_answers_exactly_once_whatever_changes_when(steps: list[object]) -> None:
    async def run(folder: Path) -> None:
        (folder / "models.py").write_text(MODELS)
        shop = Shop(folder)
        await shop.start(shop.config(1))
        try:
            for step in [Upload("z", "red", 1), *steps]:
                await shop.do(step)
                await shop.check()
        finally:
            await shop.service.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
