"""Batches from submission to their end, on a real index."""

from __future__ import annotations

import asyncio
import errno
import json

import pytest
from desk import inline, items, request, until

from lookalike_serving.batches.record import BatchState, ItemState, OnError
from lookalike_serving.images import Code, ImageError
from lookalike_serving.index.protocol import IndexRefused, IndexUnavailable
from lookalike_serving.machine import disk
from lookalike_serving.problems import Problem


async def test_a_batch_of_good_images_completes(desk, shelf):
    done = await desk.end(await desk.submit(b"one", b"two", b"three"))
    assert done.state is BatchState.COMPLETED
    assert (done.counts.succeeded, done.counts.queued) == (3, 0)
    assert shelf.stored == {"d0": 1, "d1": 1, "d2": 1}


async def test_images_are_fetched_from_their_urls(desk, shelf):
    shelf.urls["https://shop.example/a.jpg"] = b"picture"
    await desk.end(await desk.submit("https://shop.example/a.jpg"))
    assert shelf.images == {"d0": b"picture"}


async def test_one_bad_image_does_not_stop_the_others(desk):
    batch = await desk.submit(b"one", b"rubbish", b"three", "https://shop.example/gone.jpg")
    done = await desk.end(batch)
    assert done.state is BatchState.COMPLETED_WITH_ERRORS
    assert await desk.states(batch) == ["SUCCEEDED", "FAILED", "SUCCEEDED", "FAILED"]
    failed, _ = await desk.batches.items(done, ItemState.FAILED, 0, 10)
    assert [item.error.code for item in failed] == ["image-not-an-image", "image-not-found"]
    assert "send a JPEG" in failed[0].error.detail


async def test_what_decoding_left_out_is_kept_with_the_item(desk):
    done = await desk.end(await desk.submit(b"one", b"animated", b"rubbish animated"))
    found, _ = await desk.batches.items(done, None, 0, 10)
    assert [item.warnings for item in found] == [(), ("animated: the first frame is used",), ()]


async def test_a_batch_of_nothing_but_rubbish_fails(desk):
    assert (
        await desk.end(await desk.submit(b"rubbish", b"more rubbish"))
    ).state is BatchState.FAILED


async def test_base64_that_is_none_fails_its_item_alone(desk):
    batch = await desk.submit("data:image/png;base64,@@@", b"two")
    await desk.end(batch)
    assert await desk.states(batch) == ["FAILED", "SUCCEEDED"]


async def test_on_error_stop_leaves_the_rest_untried(desk):
    images = [b"rubbish", *(f"image {n}".encode() for n in range(200))]
    done = await desk.end(await desk.submit(*images, on_error="stop"))
    assert done.state is BatchState.FAILED
    assert done.progress.failure.code == "stopped-at-first-failure"
    assert "Item 0 failed" in done.progress.failure.detail
    assert done.counts.queued > 100


async def test_a_retry_tries_failed_items_alone(desk, shelf):
    batch = await desk.submit(b"one", "https://shop.example/late.jpg")
    await desk.end(batch)
    shelf.urls["https://shop.example/late.jpg"] = b"here now"
    retried = await desk.batches.retry(batch.order.id)
    assert (retried.state, retried.counts.queued) == (BatchState.QUEUED, 1)
    done = await desk.end(batch)
    assert done.state is BatchState.COMPLETED
    assert shelf.stored == {"d0": 1, "d1": 1}


async def test_a_retry_that_fails_again_is_counted_once(desk):
    batch = await desk.submit(b"one", b"rubbish")
    await desk.end(batch)
    await desk.batches.retry(batch.order.id)
    done = await desk.end(batch)
    assert (done.counts.succeeded, done.counts.failed, done.counts.queued) == (1, 1, 0)
    assert done.control.attempt == 2


async def test_a_retry_after_a_stop_does_the_untried_items_too(desk, shelf):
    shelf.urls["https://shop.example/0.jpg"] = ImageError(Code.NOT_FOUND, "not yet")
    images = ["https://shop.example/0.jpg", *(f"image {n}".encode() for n in range(100))]
    batch = await desk.submit(*images, on_error="stop")
    await desk.end(batch)
    shelf.urls["https://shop.example/0.jpg"] = b"now"
    await desk.batches.retry(batch.order.id)
    assert (await desk.end(batch)).state is BatchState.COMPLETED
    assert shelf.stored == {f"d{n}": 1 for n in range(101)}


async def test_there_is_nothing_to_retry_in_a_batch_without_failures(desk):
    batch = await desk.submit(b"one")
    await desk.end(batch)
    with pytest.raises(Problem, match="no failed items") as refused:
        await desk.batches.retry(batch.order.id)
    assert refused.value.status == 409


async def test_cancelling_in_the_middle_stores_nothing_more(desk, shelf):
    reached = asyncio.Event()
    go_on = asyncio.Event()

    async def hold(item):
        if item.position >= 40:
            reached.set()
            await go_on.wait()

    shelf.before = hold
    batch = await desk.submit(*(f"image {n}".encode() for n in range(300)))
    await reached.wait()
    cancelled = await desk.batches.cancel(batch.order.id)
    assert cancelled.state is BatchState.CANCELLING
    assert cancelled.counts.cancelled == 0
    go_on.set()
    done = await desk.end(batch)
    assert done.state is BatchState.CANCELLED
    assert done.counts.succeeded == len(shelf.stored) < 100
    assert done.counts.cancelled == 300 - len(shelf.stored)
    states = await desk.states(batch)
    assert states.count("CANCELLED") == done.counts.cancelled


async def test_a_cancelled_batch_is_final_once_nothing_is_under_way(desk, shelf):
    """Whoever waits for its end is told counts that never change afterwards."""
    under_way = 0
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(item):
        nonlocal under_way
        under_way += 1
        if under_way == 4:
            reached.set()
        await go_on.wait()
        under_way -= 1

    shelf.before = hold
    batch = await desk.submit(*(f"image {n}".encode() for n in range(50)))
    await reached.wait()
    await desk.batches.cancel(batch.order.id)
    with pytest.raises(Problem, match="until it has finished"):
        await desk.batches.retry(batch.order.id)
    go_on.set()

    async def final():
        return not (await desk.batches.batch(batch.order.id)).state.active

    await until(final)
    told = (await desk.batches.batch(batch.order.id)).counts
    assert under_way == 0
    assert told.queued == 0
    assert told.succeeded == len(shelf.stored)
    assert told.cancelled == 50 - told.succeeded


async def test_a_batch_that_waits_is_cancelled_without_its_turn(desk, shelf):
    two, go_on = asyncio.Event(), asyncio.Event()
    running: set[str] = set()

    async def hold(item):
        running.add(item.batch)
        if len(running) == 2:
            two.set()
        await go_on.wait()

    shelf.before = hold
    batches = [await desk.submit(f"image {n}".encode()) for n in range(3)]
    await two.wait()
    await desk.batches.cancel(batches[2].order.id)
    done = await desk.end(batches[2])
    assert (done.state, done.counts.cancelled) == (BatchState.CANCELLED, 1)
    assert done.progress.finished_at is not None
    go_on.set()


async def test_a_cancellation_that_a_kill_interrupts_comes_to_its_end(restart, shelf):
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(item):
        reached.set()
        await go_on.wait()

    shelf.before = hold
    desk = await restart()
    batch = await desk.submit(*(f"image {n}".encode() for n in range(30)))
    await reached.wait()
    await desk.batches.cancel(batch.order.id)
    desk = await restart()  # before what was under way could end
    done = await desk.end(batch)
    assert (done.state, done.counts.cancelled) == (BatchState.CANCELLED, 30)
    assert shelf.stored == {}


async def test_cancelling_twice_is_cancelling_once(desk, shelf):
    waiting = asyncio.Event()
    shelf.before = lambda item: waiting.wait()
    batch = await desk.submit(b"one", b"two")
    first = await desk.batches.cancel(batch.order.id)
    assert (await desk.batches.cancel(batch.order.id)).control == first.control
    waiting.set()


async def test_a_finished_batch_cannot_be_cancelled(desk):
    batch = await desk.submit(b"one")
    await desk.end(batch)
    with pytest.raises(Problem, match="COMPLETED already"):
        await desk.batches.cancel(batch.order.id)


async def test_a_running_batch_cannot_be_retried(desk, shelf):
    waiting = asyncio.Event()
    shelf.before = lambda item: waiting.wait()
    batch = await desk.submit(b"one")
    with pytest.raises(Problem, match="until it has finished"):
        await desk.batches.retry(batch.order.id)
    waiting.set()
    await desk.end(batch)


async def test_a_full_disk_stops_the_batch_and_a_retry_finishes_it(desk, shelf):
    async def full(item):
        raise OSError(errno.ENOSPC, "No space left on device")

    shelf.before = full
    batch = await desk.submit(*(f"image {n}".encode() for n in range(50)))
    stopped = await desk.end(batch)
    assert stopped.state is BatchState.FAILED
    assert stopped.progress.failure.code == "storage-full"
    assert stopped.counts.queued == 50
    shelf.before = None
    await desk.batches.retry(batch.order.id)
    assert (await desk.end(batch)).state is BatchState.COMPLETED
    assert len(shelf.stored) == 50


async def test_a_batch_leaves_the_disks_reserve_alone(desk, shelf, monkeypatch):
    free = {"bytes": 2**40}
    monkeypatch.setattr(disk, "free_bytes", lambda folder: free["bytes"])

    async def fill(item):
        free["bytes"] = disk.RESERVE - 1

    shelf.before = fill
    batch = await desk.submit(*(f"image {n}".encode() for n in range(50)))
    stopped = await desk.end(batch)  # how it ended can still be noted
    assert stopped.progress.failure.code == "storage-full"
    assert stopped.counts.queued > 0
    with pytest.raises(disk.NoRoom, match="the disk of the data folder is full"):
        await desk.submit(b"two")
    shelf.before = None
    free["bytes"] = 2**40
    await desk.batches.retry(batch.order.id)
    assert (await desk.end(batch)).state is BatchState.COMPLETED


async def test_an_index_that_is_away_for_a_moment_costs_no_item(desk, shelf):
    away = iter([True, True])

    async def flaky(item):
        if next(away, False):
            raise IndexUnavailable("the index does not answer")

    shelf.before = flaky
    assert (await desk.end(await desk.submit(b"one", b"two"))).state is BatchState.COMPLETED


async def test_an_index_that_stays_away_stops_the_batch_not_its_items(desk, shelf):
    async def away(item):
        raise IndexUnavailable("the index does not answer")

    shelf.before = away
    stopped = await desk.end(await desk.submit(b"one", b"two"))
    assert stopped.state is BatchState.FAILED
    assert stopped.progress.failure.code == "index-unavailable"
    assert (stopped.counts.queued, stopped.counts.failed) == (2, 0)


async def test_what_the_index_refuses_fails_its_item(desk, shelf):
    async def refuse(item):
        if item.position == 1:
            raise IndexRefused("metadata.size: too large")

    shelf.before = refuse
    batch = await desk.submit(b"one", b"two")
    await desk.end(batch)
    assert await desk.states(batch) == ["SUCCEEDED", "FAILED"]


async def test_an_unforeseen_failure_is_one_items_and_has_no_traceback(desk, shelf):
    async def broken(item):
        if item.position == 0:
            raise KeyError("secret detail")

    shelf.before = broken
    batch = await desk.submit(b"one", b"two")
    done = await desk.end(batch)
    failed, _ = await desk.batches.items(done, ItemState.FAILED, 0, 10)
    assert failed[0].error.code == "internal"
    assert "secret detail" not in failed[0].error.detail


async def test_two_batches_run_at_once_and_a_third_waits(desk, shelf):
    started: list[str] = []
    two = asyncio.Event()
    go_on = asyncio.Event()

    async def hold(item):
        started.append(item.batch)
        if len(started) == 2:
            two.set()
        await go_on.wait()

    shelf.before = hold
    batches = [await desk.submit(f"image {n}".encode()) for n in range(3)]
    await two.wait()
    states = [(await desk.batches.batch(b.order.id)).state for b in batches]
    assert states == [BatchState.RUNNING, BatchState.RUNNING, BatchState.QUEUED]
    go_on.set()
    for batch in batches:
        assert (await desk.end(batch)).state is BatchState.COMPLETED


async def test_no_more_than_the_slots_are_stored_at_once(desk, shelf):
    """So that a search finds a short queue at the model, whatever batches are under way."""
    at_once = most = 0

    async def count(item):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.001)
        at_once -= 1

    shelf.before = count
    both = [await desk.submit(*(b"image",) * 60) for _ in range(2)]
    for batch in both:
        await desk.end(batch)
    assert 1 < most <= 4


async def test_a_running_batch_tells_its_rate_and_the_time_left(desk, shelf):
    begun = 0

    async def slowly(item):
        nonlocal begun
        begun += 1
        if begun > 100:  # it cannot be over before it was looked at
            await asyncio.Event().wait()
        await asyncio.sleep(0.002)

    shelf.before = slowly
    batch = await desk.submit(*(b"image",) * 300)

    async def has_eta():
        return (await desk.batches.batch(batch.order.id)).eta_seconds is not None

    await until(has_eta)
    now = await desk.batches.batch(batch.order.id)
    assert now.eta_seconds == pytest.approx(now.counts.queued / now.progress.rate)
    await desk.batches.cancel(batch.order.id)


async def test_staged_bytes_go_when_the_batch_is_done(desk):
    batch = await desk.submit(b"one", b"two")
    assert desk.staging.batches() == [batch.order.id]
    await desk.end(batch)

    async def gone():
        return not desk.staging.batches()

    await until(gone)


async def test_staged_bytes_of_failed_items_stay_for_a_retry(desk):
    batch = await desk.submit(b"one", b"rubbish")
    done = await desk.end(batch)
    (failed,), _ = await desk.batches.items(done, ItemState.FAILED, 0, 10)
    assert desk.staging.get(failed.image).data == b"rubbish"


async def test_bytes_that_got_lost_fail_their_item_and_say_so(desk, shelf):
    waiting = asyncio.Event()
    shelf.before = lambda item: waiting.wait()
    batch = await desk.submit(*(f"image {n}".encode() for n in range(20)))
    last = (await desk.store.items(batch.order.id, 19, 20))[0]
    desk.staging.remove([last.image])
    waiting.set()
    done = await desk.end(batch)
    failed, _ = await desk.batches.items(done, ItemState.FAILED, 0, 10)
    assert [(i.position, i.error.code) for i in failed] == [(19, "image-lost")]


async def test_batches_are_listed_newest_first_page_by_page(desk):
    made = [(await desk.submit(f"image {n}".encode())).order.id for n in range(5)]
    seen: list[str] = []
    after = None
    for _ in range(3):
        page, after = await desk.batches.page("shop", None, after, 2)
        seen += [batch.order.id for batch in page]
    assert after is None
    assert sorted(seen) == sorted(made)
    assert seen == sorted(seen)


async def test_batches_of_another_collection_or_state_are_left_out(desk):
    await desk.end(await desk.submit(b"one"))
    assert (await desk.batches.page("elsewhere", None, None, 10))[0] == []
    assert (await desk.batches.page(None, BatchState.RUNNING, None, 10))[0] == []
    assert len((await desk.batches.page("shop", BatchState.COMPLETED, None, 10))[0]) == 1


async def test_items_of_a_state_are_paged_in_the_requests_order(desk):
    images = [b"rubbish" if n % 3 == 0 else b"fine" for n in range(20)]
    done = await desk.end(await desk.submit(*images))
    positions: list[int] = []
    start: int | None = 0
    while start is not None:
        page, start = await desk.batches.items(done, ItemState.FAILED, start, 2)
        positions += [item.position for item in page]
    assert positions == [n for n in range(20) if n % 3 == 0]


@pytest.mark.parametrize("id", ["nonsense", "00000000-0000-8000-8000-000000000000"])
async def test_an_unknown_batch_is_not_found(desk, id):
    with pytest.raises(Problem, match="no batch") as missing:
        await desk.batches.batch(id)
    assert missing.value.status == 404


async def test_the_same_key_and_request_make_one_batch(desk, shelf):
    body = json.dumps({"items": items(b"one", b"two")}).encode()
    first, created = await desk.send(request(body), key="order-1")
    again, created_again = await desk.send(request(body), key="order-1")
    assert (created, created_again) == (True, False)
    assert again.order.id == first.order.id
    await desk.end(first)
    assert shelf.stored == {"d0": 1, "d1": 1}


async def test_two_requests_with_one_key_at_the_same_time_make_one_batch(desk):
    body = json.dumps({"items": items(b"one")}).encode()
    sent = await asyncio.gather(*(desk.send(request(body), key="order-1") for _ in range(5)))
    assert len({batch.order.id for batch, _ in sent}) == 1
    assert sum(created for _, created in sent) == 1
    assert len((await desk.batches.page(None, None, None, 10))[0]) == 1


async def test_a_key_for_another_request_is_refused(desk):
    await desk.send(request(json.dumps({"items": items(b"one")}).encode()), key="order-1")
    other = request(json.dumps({"items": items(b"two")}).encode())
    with pytest.raises(Problem, match="with another request"):
        await desk.send(other, key="order-1")


async def test_the_same_images_sent_twice_without_ids_leave_the_same_documents(desk, shelf):
    body = json.dumps({"items": [{"image": inline(b"one")}, {"image": inline(b"two")}]}).encode()
    for _ in range(2):
        await desk.end((await desk.send(request(body)))[0])
    assert len(shelf.stored) == 2
    assert set(shelf.stored.values()) == {2}


async def test_the_body_says_on_error_before_the_address_does(desk):
    body = json.dumps({"items": items(b"one"), "on_error": "continue"}).encode()
    batch, _ = await desk.send(request(body), on_error=OnError.STOP)
    assert batch.order.on_error is OnError.CONTINUE
