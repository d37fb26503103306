from __future__ import annotations

import numpy as np
import pytest
import torch

from lookalike_crds.image_collection import ModelSpec, Precision, Provider
from lookalike_serving.embed import ModelError, load_embedder
from lookalike_serving.machine.cpus import usable_cpus


def spec(**fields) -> ModelSpec:
    return ModelSpec(**{"provider": Provider.OPEN_CLIP, **fields})


def test_info_tells_what_was_loaded(tiny, tiny_weights):
    info = tiny.info
    assert (info.provider, info.name, info.weights) == ("OpenClip", "tiny", str(tiny_weights))
    assert (info.dimension, info.image_size) == (32, 64)
    assert info.device in {"cpu", "cuda", "mps"}
    assert info.precision == "FP32"
    assert info.distance_hint == "Cosine"
    assert info.logit_scale == pytest.approx(1 / 0.07, rel=0.2)
    assert info.supports_text
    assert len(info.fingerprint) == 64


def test_vectors_are_unit_float32_of_one_space(tiny, photo):
    images = tiny.embed_pixels([tiny.preprocess(photo), tiny.preprocess(photo[:, ::-1])])
    texts = tiny.embed_texts(["mug", "a much longer text about a mug", ""])
    for vectors, count in ((images, 2), (texts, 3)):
        assert vectors.shape == (count, 32)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_an_empty_batch_gives_no_vectors(tiny):
    assert tiny.embed_pixels([]).shape == (0, 32)
    assert tiny.embed_texts([]).shape == (0, 32)


def test_a_vector_does_not_depend_on_its_batch(tiny, photo):
    pictures = [tiny.preprocess(np.roll(photo, i * 40, axis=1)) for i in range(5)]
    together = tiny.embed_pixels(pictures)
    alone = np.concatenate([tiny.embed_pixels([p]) for p in pictures])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_subword_tokenizer_knows_every_word(tiny):
    assert tiny.unknown_words("a qwrtzplk mug") == []


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.FP16])
def test_half_precision_agrees_with_full(precision, tiny, tiny_weights, cache_dir, photo):
    half = load_embedder(
        spec(name="tiny", weights=str(tiny_weights), precision=precision), cache_dir
    )
    assert half.info.precision == precision
    pixels = [tiny.preprocess(photo)]
    assert (half.embed_pixels(pixels) * tiny.embed_pixels(pixels)).sum() > 0.999
    assert (half.embed_texts(["mug"]) * tiny.embed_texts(["mug"])).sum() > 0.999


def test_auto_settles_on_what_it_measured(tiny_weights, cache_dir):
    auto = load_embedder(spec(name="tiny", weights=str(tiny_weights)), cache_dir)
    assert auto.info.precision in {"FP32", "BF16"}


def test_numbers_that_are_not_finite_are_an_error(tiny_weights, cache_dir, tmp_path, photo):
    from safetensors.torch import load_file, save_file

    state = load_file(tiny_weights)
    state["visual.proj"] = torch.full_like(state["visual.proj"], torch.nan)
    save_file(state, tmp_path / "nan.safetensors")
    model = load_embedder(
        spec(name="tiny", weights=str(tmp_path / "nan.safetensors"), precision="FP32"), cache_dir
    )
    with pytest.raises(ModelError, match="not finite"):
        model.embed_pixels([model.preprocess(photo)])


@pytest.mark.parametrize("name", ["tiny-coca", "tiny-both-ways"])
def test_towers_of_other_shapes_load_as_well(name, architectures, cache_dir, photo):
    model = load_embedder(spec(name=name), cache_dir, random_weights_for_benchmarks=True)
    assert model.embed_pixels([model.preprocess(photo)]).shape == (1, model.info.dimension)
    assert model.embed_texts(["mug"]).shape == (1, model.info.dimension)


def test_threads_are_as_asked_or_as_many_as_there_are_cpus(tiny_weights, cache_dir):
    model = spec(name="tiny", weights=str(tiny_weights), precision="FP32")
    load_embedder(model, cache_dir, threads=1)
    assert torch.get_num_threads() == 1
    load_embedder(model, cache_dir)
    assert torch.get_num_threads() == usable_cpus()


def test_random_weights_are_the_same_each_time(architectures, cache_dir, photo):
    first, second = (
        load_embedder(
            spec(name="tiny", precision="FP32"), cache_dir, random_weights_for_benchmarks=True
        )
        for _ in range(2)
    )
    assert first.info.fingerprint == second.info.fingerprint
    assert first.info.weights is None
    np.testing.assert_array_equal(
        first.embed_pixels([first.preprocess(photo)]),
        second.embed_pixels([second.preprocess(photo)]),
    )


def test_the_benchmark_flag_does_not_touch_weights_that_are_named(tiny, tiny_weights, cache_dir):
    model = load_embedder(
        spec(name="tiny", weights=str(tiny_weights), precision="FP32"),
        cache_dir,
        random_weights_for_benchmarks=True,
    )
    assert model.info.fingerprint == tiny.info.fingerprint


def test_loading_leaves_the_callers_random_numbers_alone(architectures, cache_dir):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    load_embedder(
        spec(name="tiny", precision="FP32"), cache_dir, random_weights_for_benchmarks=True
    )
    assert torch.equal(torch.rand(3), expected)
