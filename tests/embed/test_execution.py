"""How a model computes: chosen by measurement, remembered, and the same vectors in every way."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest

from lookalike_crds.image_collection import Distance, ModelSpec, Precision, Provider
from lookalike_serving.embed import BatchedEmbedder, Embedder, load_embedder
from lookalike_serving.embed.execution import background
from lookalike_serving.embed.execution.measuring import OTHERS_TURN, measure
from lookalike_serving.embed.execution.remembered import (
    file_of,
    machine,
    recall,
    remember,
    turn,
)
from lookalike_serving.embed.execution.samples import sample_images, sample_texts
from lookalike_serving.embed.execution.source import Source, Ways
from lookalike_serving.embed.execution.tune import tune
from lookalike_serving.embed.execution.ways import TORCH, ChosenBy, Execution, Trial, Way
from lookalike_serving.embed.protocol import EmbedderInfo
from lookalike_serving.embed.registry import provider_of


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec(**{"provider": Provider.OPEN_CLIP, "precision": Precision.FP32, **fields})


EXACT, FAST, WRONG, BROKEN, SLOW = (
    Way("torch", "FP32"),
    Way("fast", "BF16"),
    Way("wrong", "BF16"),
    Way("broken", "BF16"),
    Way("slow", "FP16"),
)
WORK = {EXACT: 300, FAST: 40, WRONG: 1, SLOW: 3000}


class Pretended:
    """An embedder whose work and agreement depend on the way."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.calls = 0
        self.info = EmbedderInfo(
            "Timm", "pretended", None, "f", 4, 8, 8, "cpu", "FP32", Distance.COSINE, None,
            supports_text=False, ability="",
        )  # fmt: skip

    def preprocess(self, image: Any, box: Any = None) -> Any:
        return image[:8, :8].transpose(2, 0, 1)

    def embed_pixels(self, batch: Sequence[Any]) -> Any:
        self.calls += 1
        for _ in range(WORK[self.way]):
            np.sort(np.arange(3000)[::-1])
        vectors = np.array([[each.mean(), each.std(), 1, 2] for each in batch], np.float32)
        vectors = vectors[:, ::-1] if self.way == WRONG else vectors
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class PretendedSource(Source):
    name, fingerprint, device, reads_texts, size = "pretended", "f", "cpu", False, 4

    def __init__(self, *ways: Way) -> None:
        self._ways = ways
        self.made: list[Pretended] = []

    def ways(self) -> Ways:
        return Ways(self._ways, {"openvino": "pip install openvino"})

    def estimate(self) -> Way:
        return EXACT

    def embedder(self, execution: Execution) -> Any:
        if execution.image == BROKEN:
            raise RuntimeError("no such instruction")
        self.made.append(Pretended(execution.image))
        return self.made[-1]

    def copy(self) -> Source:
        return self


def trials_of(found: Execution) -> dict[Way, Trial]:
    return {each.way: each for each in found.trials}


def test_the_fastest_way_that_agrees_is_chosen_and_the_others_say_why_not() -> None:
    source = PretendedSource(EXACT, BROKEN, WRONG, FAST, SLOW)
    found = tune(source, seconds=60, told=lambda _: None)
    assert (found.image, found.text, found.chosen_by) == (FAST, None, ChosenBy.MEASUREMENT)
    trials = trials_of(found)
    assert "no such instruction" in str(trials[BROKEN].left_out)
    assert trials[WRONG].left_out == "image vectors differ from FP32"
    assert not trials[WRONG].image_ms
    assert trials[FAST].image_cosine == pytest.approx(1, abs=1e-6)
    assert trials[Way("openvino", "any")].left_out == "not installed: pip install openvino"


def test_a_hopeless_way_is_not_measured_to_the_end() -> None:
    source = PretendedSource(FAST, SLOW)
    tune(source, seconds=60, told=lambda _: None)
    fast, slow = source.made
    assert slow.calls < fast.calls


def test_what_has_no_time_left_is_named() -> None:
    now = iter(range(0, 1000, 4))
    told: list[Execution] = []
    found = tune(
        PretendedSource(EXACT, FAST, SLOW),
        seconds=10,
        told=told.append,
        clock=lambda: float(next(now)),
    )
    assert trials_of(found)[SLOW].left_out == "the 10 seconds for measuring were over"
    assert [len(each.trials) for each in told] == [2, 3]  # with the engine that is missing


def test_samples_look_like_pictures() -> None:
    images = sample_images()
    assert len(images) == len(sample_texts()) == 8
    for image in images:
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
        assert 10 < image.std() < 110
        # Neighbouring pixels are alike.
        assert np.abs(np.diff(image.astype(int), axis=1)).mean() < 40


HERE = "a machine"
CHOICE = Execution(
    FAST, None, ChosenBy.MEASUREMENT, (Trial(FAST, (1.0, 2.0), (), 0.9999, 1.0, None),)
)


def test_a_choice_is_remembered_for_its_machine_and_model(tmp_path: Path) -> None:
    remember(tmp_path, "f", HERE, CHOICE)
    assert recall(tmp_path, "f", HERE) == CHOICE
    assert recall(tmp_path, "g", HERE) is None
    assert recall(tmp_path, "f", "another machine") is None


@pytest.mark.parametrize("damage", ["", "{}", '{"version": 1, "image": 3}', "[]"])
def test_a_damaged_file_is_as_none(damage: str, tmp_path: Path) -> None:
    remember(tmp_path, "f", HERE, CHOICE)
    file_of(tmp_path, "f", HERE).write_text(damage)
    assert recall(tmp_path, "f", HERE) is None


def test_a_machine_is_its_processor_threads_and_engines() -> None:
    told = machine("cpu")
    assert "threads" in told
    assert "torch " in told
    assert told == machine("cpu")


def test_only_one_measures_and_its_end_frees_the_turn(tmp_path: Path) -> None:
    with turn(tmp_path, "f", HERE) as first, turn(tmp_path, "f", HERE) as second:
        assert (first, second) == (True, False)
    with turn(tmp_path, "f", HERE) as third:
        assert third


def vectors(embedder: Embedder, photo: Any) -> Any:
    pixels = [embedder.preprocess(photo)] * 3
    return np.concatenate([embedder.embed_pixels(pixels), embedder.embed_texts(sample_texts())])


@pytest.mark.parametrize("name", ["tiny", "tiny-both-ways"])
def test_every_way_gives_the_same_vectors_and_the_same_fingerprint(
    name: str, architectures: None, cache_dir: Path, photo: Any
) -> None:
    model = spec(name=name)
    provider: Any = provider_of(model).provider()
    source = provider.read(model, cache_dir, random_weights=True)
    ways = source.ways()
    assert {way.engine for way in ways.available} | ways.missing.keys() == {
        "torch", "torch.compile", "onnxruntime", "openvino",
    }  # fmt: skip
    exact = vectors(load_embedder(model, cache_dir, random_weights_for_benchmarks=True), photo)
    for way in ways.available:
        if way.engine == "torch.compile":
            continue  # takes half a minute: bench/embed.py has it
        made = source.copy().embedder(Execution(way, way, ChosenBy.MEASUREMENT))
        cosines = (vectors(made, photo) * exact).sum(axis=1)
        assert cosines.min() > 0.999, way
        assert made.info.fingerprint == source.fingerprint
        assert str(made.info.execution) == str(way)


def test_towers_may_compute_in_different_ways(
    architectures: None, cache_dir: Path, photo: Any
) -> None:
    model = spec(name="tiny")
    provider: Any = provider_of(model).provider()
    source = provider.read(model, cache_dir, random_weights=True)
    exact = vectors(load_embedder(model, cache_dir, random_weights_for_benchmarks=True), photo)
    mixed = source.embedder(Execution(Way(TORCH, "FP32"), Way(TORCH, "BF16"), ChosenBy.MEASUREMENT))
    found = vectors(mixed, photo)
    np.testing.assert_allclose(found[:3], exact[:3], atol=1e-6)  # not rounded on the way
    assert not np.allclose(found[3:], exact[3:], atol=1e-6)
    assert mixed.info.precision == "FP32"


def auto(tiny_weights: Path) -> Any:
    return spec(name="tiny", weights=str(tiny_weights), precision=Precision.AUTO)


def test_a_remembered_choice_is_used_at_once(tiny_weights: Path, tmp_path: Path) -> None:
    model = auto(tiny_weights)
    first = load_embedder(model, tmp_path)
    assert first.info.execution is not None
    assert first.info.execution.chosen_by is ChosenBy.ESTIMATE
    half = Way(TORCH, "BF16")
    choice = Execution(half, half, ChosenBy.MEASUREMENT)
    remember(tmp_path, first.info.fingerprint, machine("cpu"), choice)
    second = load_embedder(model, tmp_path)
    assert second.info.execution == choice
    assert second.info.fingerprint == first.info.fingerprint
    asked = load_embedder(model.model_copy(update={"precision": Precision.FP32}), tmp_path)
    assert asked.info.execution is not None
    assert asked.info.execution.chosen_by is ChosenBy.SPEC


def test_a_choice_that_no_longer_runs_is_no_error(
    tiny_weights: Path, tmp_path: Path, caplog: Any
) -> None:
    model = auto(tiny_weights)
    info = load_embedder(model, tmp_path).info
    gone = Way("an engine that was removed", "FP32")
    choice = Execution(gone, gone, ChosenBy.MEASUREMENT)
    remember(tmp_path, info.fingerprint, machine("cpu"), choice)
    again = load_embedder(model, tmp_path)
    assert again.info.execution is not None
    assert again.info.execution.chosen_by is ChosenBy.ESTIMATE
    assert "an engine that was removed" in caplog.text


def test_a_server_measures_beside_its_work_and_continues_with_the_choice(
    tiny_weights: Path, tmp_path: Path, monkeypatch: Any, photo: Any
) -> None:
    monkeypatch.setattr(background, "SECONDS", 2.0)
    folder = tmp_path / "model"  # the architecture is known to this process alone
    folder.mkdir()
    config = {"model_cfg": open_clip.get_model_config("tiny"), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    shutil.copy(tiny_weights, folder / "model.safetensors")
    model = spec(name="tiny", weights=str(folder), precision=Precision.AUTO)

    async def served() -> None:
        async with BatchedEmbedder(load_embedder(model, tmp_path)) as embedder:
            before = await embedder.embed_image(photo)
            tuning = background.Tuning(embedder, model, tmp_path)
            tuning.start(after=0)
            assert tuning._thread is not None
            while tuning._thread.is_alive():
                await embedder.embed_text("answers meanwhile")
                await asyncio.sleep(0.05)
            execution = embedder.info.execution
            assert execution is not None
            assert execution.chosen_by is ChosenBy.MEASUREMENT
            assert execution.trials
            assert float(before @ await embedder.embed_image(photo)) > 0.999
            tuning.close()

    asyncio.run(served())
    (file,) = (tmp_path / "tuned").glob("*.json")
    assert json.loads(file.read_text())["chosen_by"] == "Measurement"


def test_without_enough_memory_it_goes_on_as_it_is(
    tiny_weights: Path, tmp_path: Path, monkeypatch: Any, caplog: Any
) -> None:
    monkeypatch.setattr(background, "free_memory", lambda: 1_000_000)
    model = auto(tiny_weights)
    embedder = BatchedEmbedder(load_embedder(model, tmp_path))
    tuning = background.Tuning(embedder, model, tmp_path)
    tuning.start(after=0)
    assert tuning._thread is not None
    tuning._thread.join(10)
    embedder.close()
    assert "1 MB are free" in caplog.text
    assert not list((tmp_path / "tuned").glob("*.json"))


def test_who_has_not_the_turn_leaves_at_once(tiny_weights: Path, tmp_path: Path) -> None:
    model = auto(tiny_weights)
    fingerprint = load_embedder(model, tmp_path).info.fingerprint
    with turn(tmp_path, fingerprint, machine("cpu")) as ours:
        assert ours
        assert measure(model, tmp_path, 5, random_weights=False) == OTHERS_TURN


def test_another_model_cannot_take_a_models_place(tiny: Embedder) -> None:
    embedder = BatchedEmbedder(tiny)
    other: Any = Pretended(EXACT)
    other.info = replace(other.info, fingerprint="another")
    with pytest.raises(ValueError, match="another model"):
        embedder.continue_with(other)
    embedder.close()


def test_a_fixed_precision_is_not_measured(tiny: Embedder, tmp_path: Path) -> None:
    before = threading.active_count()
    embedder = BatchedEmbedder(tiny)
    background.Tuning(embedder, spec(name="tiny"), tmp_path).start(after=0)
    embedder.close()
    assert threading.active_count() <= before
