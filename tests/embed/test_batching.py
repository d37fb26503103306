from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.support.pictures import encoded

from lookalike_crds.image_collection import Distance
from lookalike_serving.embed import (
    BatchedEmbedder,
    Embedded,
    EmbedderInfo,
    ModelError,
    Overloaded,
    batching,
)
from lookalike_serving.embed.admission import Admission, Kind
from lookalike_serving.images import ImageError

POISON = 13
"""An image whose first pixel has this red value makes the whole call fail."""


class Gated:
    """An embedder that computes when it is let: vectors tell the input, `calls` the batches.

    Of an image the vector is its mean colour, of a text its length.
    """

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Semaphore(0)
        self.calls: list[tuple[str, int]] = []
        self.threads: set[str] = set()
        self.info = EmbedderInfo(
            "Test", "gated", None, "f", 3, 8, 8, "cpu", "FP32", Distance.COSINE, None, True, "tests"
        )

    def preprocess(self, image, box=None):
        if image.shape[0] == 1:
            raise ValueError("too flat")
        return image.transpose(2, 0, 1)[:, :8, :8].copy()

    def _enter(self, kind: str, n: int) -> None:
        self.calls.append((kind, n))
        self.threads.add(threading.current_thread().name)
        self.entered.release()
        assert self.open.wait(10)

    def embed_pixels(self, batch):
        self._enter("image", len(batch))
        if any(tensor[0, 0, 0] == POISON for tensor in batch):
            raise RuntimeError("poisoned at 0xdeadbeef")
        return np.stack([t.mean((1, 2)) for t in batch]).astype(np.float32)

    def embed_texts(self, texts):
        self._enter("text", len(texts))
        return np.array([[len(text), 0, 0] for text in texts], np.float32)

    def understands(self, text):
        return True

    def unknown_words(self, text):
        return [word for word in text.split() if word == "qwrtz"]


def pixels(red: int):
    return np.full((8, 8, 3), (red, 0, 0), np.uint8)


def png(red: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(red)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def model() -> Gated:
    return Gated()


@pytest.fixture
async def embedder_of(model: Gated) -> AsyncIterator[Callable[..., BatchedEmbedder]]:
    made: list[BatchedEmbedder] = []

    def make(**options) -> BatchedEmbedder:
        made.append(BatchedEmbedder(model, **options))
        return made[-1]

    yield make
    model.open.set()
    for embedder in made:
        await asyncio.to_thread(embedder.close)


async def settled(condition: Callable[[], bool]) -> None:
    """Give other threads their turn until `condition` holds."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what changes is a count, in another thread
            await asyncio.sleep(0)


async def busy(model: Gated, embedder: BatchedEmbedder) -> asyncio.Task[np.ndarray]:
    """Hold the model inside a call, so that what comes now piles up."""
    model.open.clear()
    first = asyncio.create_task(embedder.embed_text("first"))
    assert await asyncio.to_thread(model.entered.acquire, timeout=60)
    return first


# --- what comes back ----------------------------------------------------------------------


async def test_images_and_texts_are_embedded(embedder_of):
    embedder = embedder_of()
    assert (await embedder.embed_image(png(40))).tolist() == [40, 0, 0]
    assert (await embedder.embed_image(pixels(50))).tolist() == [50, 0, 0]
    assert (await embedder.embed_text("mug")).tolist() == [3, 0, 0]


async def test_many_at_once_keep_their_order(embedder_of):
    embedder = embedder_of(max_batch=7)
    reds = [20 + i % 200 for i in range(100)]
    images, texts = await asyncio.gather(
        embedder.embed_images([png(red) for red in reds]),
        embedder.embed_texts(["x" * n for n in range(100)]),
    )
    assert [answer.vector[0] for answer in images] == reds
    assert [answer.vector[0] for answer in texts] == list(range(100))


async def test_none_at_once_is_no_work(embedder_of, model):
    assert await embedder_of().embed_images([]) == []
    assert model.calls == []


async def test_the_image_is_described(embedder_of):
    out = io.BytesIO()
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "blue")]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    facts = (await embedder_of().embed_image_timed(out.getvalue())).image
    assert (facts.width, facts.height, facts.format) == (30, 20, "GIF")
    assert facts.warnings == ("animated: the first frame is used",)


async def test_unknown_words_come_from_the_model(embedder_of):
    assert embedder_of().unknown_words("red qwrtz") == ["qwrtz"]


# --- batches ------------------------------------------------------------------------------


async def test_an_idle_model_starts_at_once(embedder_of, model):
    embedder = embedder_of()
    for _ in range(3):
        await embedder.embed_text("mug")
    assert model.calls == [("text", 1)] * 3


async def test_what_arrives_while_the_model_is_busy_goes_together(embedder_of, model):
    embedder = embedder_of()
    first = await busy(model, embedder)
    rest = [asyncio.create_task(embedder.embed_text("mug")) for _ in range(10)]
    await settled(lambda: embedder.stats.texts.waiting == 10)
    model.open.set()
    await asyncio.gather(first, *rest)
    assert model.calls == [("text", 1), ("text", 10)]


async def test_batches_are_capped(embedder_of, model):
    embedder = embedder_of(max_batch=4)
    first = await busy(model, embedder)
    rest = [asyncio.create_task(embedder.embed_text("mug")) for _ in range(10)]
    await settled(lambda: embedder.stats.texts.waiting == 10)
    model.open.set()
    await asyncio.gather(first, *rest)
    assert model.calls == [("text", n) for n in (1, 4, 4, 2)]


async def come_and_go(embedder: BatchedEmbedder, times: int) -> None:
    for i in range(times):
        await embedder.embed_text("x" * (i + 1))


async def in_step(model: Gated, embedder: BatchedEmbedder, monkeypatch) -> list[int]:
    """The batches of two callers who come back at once, after one both were in."""
    monkeypatch.setattr(batching, "_GAP_SECONDS", 30)
    monkeypatch.setattr(batching, "_PATIENCE", 1e9)
    first = await busy(model, embedder)
    callers = [asyncio.create_task(come_and_go(embedder, 5)) for _ in range(2)]
    await settled(lambda: embedder.stats.texts.waiting == 2)
    model.open.set()
    await first
    await asyncio.gather(*callers)
    return [n for _, n in model.calls[1:]]


async def test_on_a_cpu_the_callers_of_a_batch_are_awaited(embedder_of, model, monkeypatch):
    async with asyncio.timeout(20):  # it does not wait once both are there
        assert await in_step(model, embedder_of(), monkeypatch) == [2] * 5


async def test_a_caller_who_does_not_come_back_is_not_awaited_long(embedder_of, model, monkeypatch):
    embedder = embedder_of()
    await in_step(model, embedder, monkeypatch)
    monkeypatch.setattr(batching, "_GAP_SECONDS", 0.01)
    async with asyncio.timeout(20):
        await embedder.embed_text("alone")


async def test_closing_does_not_wait_for_callers(embedder_of, model, monkeypatch):
    embedder = embedder_of()
    await in_step(model, embedder, monkeypatch)
    async with asyncio.timeout(20):
        await asyncio.to_thread(embedder.close)


async def test_a_gpu_waits_for_nobody(embedder_of, model, monkeypatch):
    model.info = replace(model.info, device="cuda:0")
    embedder = embedder_of()
    await in_step(model, embedder, monkeypatch)
    async with asyncio.timeout(20):
        await embedder.embed_text("alone")


async def test_images_and_texts_take_turns(embedder_of, model):
    embedder = embedder_of(max_batch=2)
    first = await busy(model, embedder)
    images = [asyncio.create_task(embedder.embed_image(pixels(9))) for _ in range(6)]
    texts = [asyncio.create_task(embedder.embed_text("mug")) for _ in range(4)]
    await settled(lambda: embedder.stats.images.waiting == 6 and embedder.stats.texts.waiting == 4)
    model.open.set()
    await asyncio.gather(first, *images, *texts)
    kinds = [kind for kind, _ in model.calls]
    assert kinds == ["text", "image", "text", "image", "text", "image"]


async def test_the_event_loop_runs_while_the_model_does(embedder_of, model):
    embedder = embedder_of()
    first = await busy(model, embedder)
    for _ in range(100):
        await asyncio.sleep(0)  # returns: the loop turns
    assert not first.done()
    model.open.set()
    await first
    assert threading.current_thread().name not in model.threads


async def test_the_model_is_only_ever_called_from_one_thread(embedder_of, model):
    embedder = embedder_of(threads=4)
    await asyncio.gather(embedder.embed_images([png(20)] * 40), embedder.embed_texts(["mug"] * 40))
    assert model.threads == {"lookalike-model"}


# --- failures -----------------------------------------------------------------------------


async def test_bytes_that_are_no_image_fail_alone(embedder_of):
    answers = await embedder_of().embed_images([png(20), b"<html></html>", b"", png(21)])
    assert [a.vector[0] if isinstance(a, Embedded) else a.code for a in answers] == [
        20,
        "not_an_image",
        "empty",
        21,
    ]


async def test_an_image_that_cannot_be_preprocessed_fails_alone(embedder_of):
    flat = np.zeros((1, 8, 3), np.uint8)
    good, bad = await embedder_of().embed_images([pixels(20), flat])
    assert good.vector[0] == 20
    assert isinstance(bad, ValueError)


async def test_one_that_breaks_the_model_does_not_break_its_batch(embedder_of, model):
    embedder = embedder_of()
    first = await busy(model, embedder)
    reds = [20, POISON, 21, 22]
    waiting = asyncio.create_task(embedder.embed_images([pixels(red) for red in reds]))
    await settled(lambda: embedder.stats.images.waiting == 4)
    model.open.set()
    answers = await waiting
    await first
    assert [a.vector[0] for a in answers if isinstance(a, Embedded)] == [20, 21, 22]
    assert isinstance(answers[1], ModelError)
    assert model.calls[1:] == [("image", 4), *[("image", 1)] * 4]


async def test_a_model_error_names_the_model_and_hides_the_inside(embedder_of):
    with pytest.raises(ModelError, match="gated failed on cpu with RuntimeError") as caught:
        await embedder_of().embed_image(pixels(POISON))
    assert "0xdeadbeef" not in str(caught.value)
    assert "0xdeadbeef" in str(caught.value.__cause__)


async def test_a_single_image_that_is_none_raises(embedder_of):
    with pytest.raises(ImageError, match="HTML"):
        await embedder_of().embed_image(b"<html></html>")


async def test_the_pixel_limit_is_handed_on(embedder_of):
    with pytest.raises(ImageError) as caught:
        await embedder_of(max_pixels=10).embed_image(png(20))
    assert caught.value.code == "too_many_pixels"


# --- cancelling ---------------------------------------------------------------------------


async def test_what_is_cancelled_while_it_waits_is_never_embedded(embedder_of, model):
    embedder = embedder_of()
    first = await busy(model, embedder)
    leaving = [asyncio.create_task(embedder.embed_text("mug")) for _ in range(5)]
    staying = asyncio.create_task(embedder.embed_text("cup!"))
    await settled(lambda: embedder.stats.texts.waiting == 6)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    model.open.set()
    assert (await staying)[0] == 4
    await first
    assert model.calls == [("text", 1), ("text", 1)]
    assert embedder.stats.under_way == 0


async def test_cancelling_what_is_in_the_model_does_not_harm_its_mates(embedder_of, model):
    embedder = embedder_of()
    first = await busy(model, embedder)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    model.open.set()
    assert (await embedder.embed_text("mug"))[0] == 3
    assert embedder.stats.under_way == 0


# --- overload -----------------------------------------------------------------------------


async def test_more_than_may_wait_is_refused_at_once(embedder_of, model):
    embedder = embedder_of(max_waiting=3)
    first = await busy(model, embedder)
    rest = [asyncio.create_task(embedder.embed_text("mug")) for _ in range(2)]
    await settled(lambda: embedder.stats.under_way == 3)
    with pytest.raises(Overloaded, match="limit of 3"):
        await embedder.embed_image(png(20))
    assert embedder.stats.overloaded == 1
    model.open.set()
    await asyncio.gather(first, *rest)
    assert (await embedder.embed_image(png(20)))[0] == 20


async def test_many_at_once_are_taken_whole_or_not_at_all(embedder_of, model):
    embedder = embedder_of(max_waiting=3)
    with pytest.raises(Overloaded):
        await embedder.embed_texts(["a"] * 4)
    assert model.calls == []
    assert len(await embedder.embed_texts(["a"] * 3)) == 3


async def test_those_who_would_wait_too_long_are_refused_at_once(embedder_of, model):
    embedder = embedder_of(longest_wait=0.5)
    for _ in range(8):  # an item takes .3 s, as far as anyone knows
        held = await busy(model, embedder)
        assert not embedder._admission.expected_wait()
        await asyncio.sleep(0.3)
        model.open.set()
        await held
    held = await busy(model, embedder)
    second = asyncio.create_task(embedder.embed_text("mug"))
    await settled(lambda: embedder.stats.under_way == 2)
    with pytest.raises(Overloaded, match=r"2 embeddings are under way, which take about 1 s; more"):
        await embedder.embed_text("cup")
    model.open.set()
    await asyncio.gather(held, second)
    assert (await embedder.embed_text("cup"))[0] == 3


@given(
    st.lists(
        st.tuples(st.sampled_from(Kind), st.integers(1, 40), st.floats(0.001, 9.0)), max_size=60
    )
)
async def test_whoever_comes_to_an_empty_queue_is_accepted(moves):
    """However slow the model is: with nobody ahead of them, there is nothing to wait for."""
    admission = Admission(1024, longest_wait=1.0)
    for kind, count, seconds in moves:
        admission.enter(kind, count)
        if admission.expected_wait() > 1.0:
            with pytest.raises(Overloaded):
                admission.enter(kind.other, 1)
        admission.took(kind, count, seconds)
        for _ in range(count):
            admission.leave(kind)
        assert (admission.under_way, admission.expected_wait()) == (0, 0.0)


async def test_failures_give_their_room_back(embedder_of):
    embedder = embedder_of(max_waiting=2)
    for _ in range(5):
        await embedder.embed_images([b"nothing", pixels(POISON)])
    assert embedder.stats.under_way == 0
    assert (embedder.stats.images.failed, embedder.stats.images.items) == (10, 0)


# --- closing ------------------------------------------------------------------------------


async def test_closing_fails_what_waits_and_answers_what_runs(embedder_of, model):
    embedder = embedder_of()
    first = await busy(model, embedder)
    waiting = asyncio.create_task(embedder.embed_text("mug"))
    await settled(lambda: embedder.stats.texts.waiting == 1)
    closing = asyncio.create_task(asyncio.to_thread(embedder.close))
    with pytest.raises(ModelError, match="closed"):
        await waiting
    model.open.set()
    await closing
    assert (await first)[0] == 5


async def test_a_closed_embedder_refuses(model):
    async with BatchedEmbedder(model) as embedder:
        await embedder.embed_text("mug")
    for call in (embedder.embed_text("mug"), embedder.embed_image(png(20))):
        with pytest.raises(ModelError, match="closed"):
            await call
    embedder.close()


def test_one_embedder_serves_several_event_loops(model):
    embedder = BatchedEmbedder(model)

    async def ask() -> list[float]:
        answers = await asyncio.gather(*(embedder.embed_text("x" * n) for n in range(20)))
        return [vector[0] for vector in answers]

    results: list[list[float]] = []
    threads = [
        threading.Thread(target=lambda: results.append(asyncio.run(ask()))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    embedder.close()
    assert results == [list(range(20))] * 4


def test_an_event_loop_that_ended_does_not_stop_the_model(model):
    embedder = BatchedEmbedder(model)
    model.open.clear()

    async def leave() -> None:
        task = asyncio.ensure_future(embedder.embed_text("mug"))
        await asyncio.to_thread(model.entered.acquire)
        del task

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    for task in asyncio.all_tasks(loop):
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    model.open.set()
    assert asyncio.run(embedder.embed_text("cup!"))[0] == 4
    embedder.close()


# --- figures ------------------------------------------------------------------------------


async def test_timings_tell_where_the_time_went(embedder_of):
    embedder = embedder_of()
    image = (await embedder.embed_image_timed(png(20))).timings
    text = (await embedder.embed_text_timed("mug")).timings
    assert image.decode_ms > 0
    assert image.preprocess_ms > 0
    assert (text.decode_ms, text.preprocess_ms) == (0, 0)
    for timings in (image, text):
        assert timings.model_ms > 0
        assert timings.wait_ms >= 0
        assert timings.batch == 1


async def test_waiting_is_told_apart_from_the_model(embedder_of, model):
    embedder = embedder_of()
    first = await busy(model, embedder)
    second = asyncio.create_task(embedder.embed_text_timed("mug"))
    await settled(lambda: embedder.stats.texts.waiting == 1)
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, model.open.set)
    await first
    assert (await second).timings.wait_ms >= 40


async def test_stats_count_items_batches_and_sizes(embedder_of, model):
    embedder = embedder_of()
    first = await busy(model, embedder)
    rest = asyncio.create_task(embedder.embed_texts(["mug"] * 5))
    await settled(lambda: embedder.stats.texts.waiting == 5)
    assert embedder.stats.under_way == 6
    model.open.set()
    await asyncio.gather(first, rest)
    texts = embedder.stats.texts
    assert (texts.items, texts.batches, texts.batch_sizes) == (6, 2, {1: 1, 5: 1})
    assert texts.model_seconds > 0
    assert (texts.waiting, embedder.stats.under_way) == (0, 0)


async def test_texts_are_not_remembered_unless_asked(embedder_of, model):
    embedder = embedder_of()
    for _ in range(3):
        assert not (await embedder.embed_text_timed("mug")).timings.cached
    assert len(model.calls) == 3


async def test_remembered_texts_are_not_embedded_again(embedder_of, model):
    embedder = embedder_of(text_cache=2)
    for _ in range(3):
        assert (await embedder.embed_text("mug"))[0] == 3
    assert len(model.calls) == 1
    answers = await embedder.embed_texts(["mug", "cup!", "mug"])
    assert [a.vector[0] for a in answers] == [3, 4, 3]
    assert [a.timings.cached for a in answers] == [True, False, True]
    assert embedder.stats.cache_hits == 4


async def test_the_longest_unused_text_is_forgotten_first(embedder_of, model):
    embedder = embedder_of(text_cache=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        await embedder.embed_text(text)
    assert len(model.calls) == 4  # a, b, c, and b again


async def test_remembered_images_are_neither_decoded_nor_embedded_again(embedder_of, model, photo):
    embedder = embedder_of(image_cache=2)
    file = encoded(Image.fromarray(photo))
    first = await embedder.embed_image_timed(file, query=True)
    again = await embedder.embed_image_timed(bytes(bytearray(file)), query=True)
    assert (first.timings.cached, again.timings.cached) == (False, True)
    assert again.vector.tolist() == first.vector.tolist()
    assert again.image == first.image
    assert again.image is not None
    assert len(model.calls) == 1
    assert embedder.stats.under_way == 0
    [of_many] = await embedder.embed_images([file])
    assert not of_many.timings.cached
    document = await embedder.embed_image_timed(file)
    assert not document.timings.cached
    other = await embedder.embed_image_timed(encoded(Image.fromarray(photo[::-1])), query=True)
    assert not other.timings.cached


# --- with a real model --------------------------------------------------------------------


async def test_batched_vectors_are_the_models_own(tiny, photo):
    pictures = [np.roll(photo, 50 * i, axis=1) for i in range(12)]
    texts = [f"mug number {i}" for i in range(12)]
    async with BatchedEmbedder(tiny, max_batch=5) as embedder:
        images, words = await asyncio.gather(
            embedder.embed_images(pictures), embedder.embed_texts(texts)
        )
    expected = tiny.embed_pixels([tiny.preprocess(p) for p in pictures])
    np.testing.assert_allclose(np.stack([a.vector for a in images]), expected, atol=1e-5)
    np.testing.assert_allclose(
        np.stack([a.vector for a in words]), tiny.embed_texts(texts), atol=1e-5
    )
