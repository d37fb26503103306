"""Where weights come from, and what happens when they do not."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import open_clip
import pytest
import torch
from open_clip import pretrained
from safetensors.torch import load_file, save_file

from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_serving.embed import ModelError, WeightsNotFound, load_embedder
from lookalike_serving.embed.weights import content_hash


def spec(**fields) -> ModelSpec:
    return ModelSpec(**{"provider": Provider.OPEN_CLIP, "precision": "FP32", **fields})


def vectors(embedder, photo):
    (image,) = embedder.embed_pixels([embedder.preprocess(photo)])
    (text,) = embedder.embed_texts(["a red mug"])
    return np.stack([image, text])


def failure(cache_dir, **fields) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_embedder(spec(**fields), cache_dir)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """The hub is not to be waited for, on any machine these tests run on."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


# --- files --------------------------------------------------------------------------------


def test_a_safetensors_file_gives_its_vectors(tiny, tiny_weights, photo):
    model = open_clip.create_model("tiny", pretrained=str(tiny_weights)).eval()
    with torch.inference_mode():
        text = model.encode_text(open_clip.get_tokenizer("tiny")(["a red mug"]), normalize=True)
    np.testing.assert_allclose(vectors(tiny, photo)[1], text[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_torch_file_gives_the_same_vectors(
    wrapped, tiny, tiny_weights, cache_dir, tmp_path, photo
):
    state = load_file(tiny_weights)
    if wrapped:  # as training runs save it
        state = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    torch.save(state, tmp_path / "tiny.pt")
    loaded = load_embedder(spec(name="tiny", weights=str(tmp_path / "tiny.pt")), cache_dir)
    np.testing.assert_array_equal(vectors(loaded, photo), vectors(tiny, photo))


def test_a_torch_file_cannot_run_code(architectures, cache_dir, tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "run"),)

    torch.save({"visual.proj": Payload()}, tmp_path / "evil.pt")
    error = failure(cache_dir, name="tiny", weights=str(tmp_path / "evil.pt"))
    assert "safetensors" in str(error)
    assert not (tmp_path / "run").exists()


def test_a_folder_with_its_own_configuration_is_loaded(tiny, tiny_folder, cache_dir, photo):
    loaded = load_embedder(spec(weights=str(tiny_folder)), cache_dir)
    np.testing.assert_array_equal(vectors(loaded, photo), vectors(tiny, photo))


@pytest.fixture
def tiny_folder(tiny_weights, tmp_path):
    """As the hub lays models out."""
    folder = tmp_path / "model"
    folder.mkdir()
    config = {"model_cfg": open_clip.get_model_config("tiny"), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    shutil.copy(tiny_weights, folder / "open_clip_model.safetensors")
    return folder


def test_a_folders_own_preprocessing_is_used(tiny, tiny_folder, cache_dir, photo):
    config = json.loads((tiny_folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"] = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    (tiny_folder / "open_clip_config.json").write_text(json.dumps(config))
    loaded = load_embedder(spec(weights=str(tiny_folder)), cache_dir)
    assert not np.array_equal(loaded.preprocess(photo), tiny.preprocess(photo))
    assert loaded.info.fingerprint != tiny.info.fingerprint


def test_a_folder_without_weights_is_refused(tiny_folder, cache_dir):
    (tiny_folder / "open_clip_model.safetensors").unlink()
    assert isinstance(failure(cache_dir, weights=str(tiny_folder)), WeightsNotFound)


def test_a_missing_file_names_where_it_was_looked_for(architectures, cache_dir, tmp_path):
    error = failure(cache_dir, name="tiny", weights=str(tmp_path / "gone.safetensors"))
    assert isinstance(error, WeightsNotFound)
    assert str(tmp_path / "gone.safetensors") in str(error)
    assert "spec.model.weights" in str(error)


def test_a_relative_path_is_shown_in_full(architectures, cache_dir):
    error = failure(cache_dir, name="tiny", weights="weights/tiny.safetensors")
    assert os.path.abspath("weights/tiny.safetensors") in str(error)


def test_weights_of_another_architecture_are_refused(tiny_weights, cache_dir, tmp_path):
    state = load_file(tiny_weights)
    state["visual.proj"] = state["visual.proj"][:, :16].contiguous()
    save_file(state, tmp_path / "other.safetensors")
    error = failure(cache_dir, name="tiny", weights=str(tmp_path / "other.safetensors"))
    assert "spec.model.name" in str(error)


def test_a_cut_file_is_refused(tiny_weights, architectures, cache_dir, tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(tiny_weights.read_bytes()[:5000])
    assert "whole" in str(
        failure(cache_dir, name="tiny", weights=str(tmp_path / "cut.safetensors"))
    )


# --- nothing, or nonsense -----------------------------------------------------------------


def test_no_weights_are_an_error_and_never_random(cache_dir):
    error = failure(cache_dir, name="ViT-B-32")
    assert isinstance(error, WeightsNotFound)
    assert "laion2b_s34b_b79k" in str(error) or "openai" in str(error)


def test_no_name_is_an_error(cache_dir):
    assert "ViT-B-32" in str(failure(cache_dir))


def test_an_unknown_architecture_offers_close_ones(cache_dir):
    assert "'ViT-B-32'" in str(failure(cache_dir, name="vit-b32", weights="openai"))


def test_an_unknown_tag_offers_close_ones(cache_dir):
    error = failure(cache_dir, name="ViT-B-32", weights="laion2b_s34b")
    assert isinstance(error, WeightsNotFound)
    assert "'laion2b_s34b_b79k'" in str(error)


def test_a_revision_is_for_the_hub_alone(cache_dir):
    assert "revision" in str(failure(cache_dir, name="ViT-B-32", weights="openai", revision="x"))


# --- the hub ------------------------------------------------------------------------------


@pytest.fixture
def hub_cache(tiny_folder, tmp_path):
    """A cache folder as huggingface_hub leaves it after fetching `org/tiny`."""
    repository = tmp_path / "cache" / "models--org--tiny"
    shutil.copytree(tiny_folder, repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    return tmp_path / "cache"


@pytest.mark.parametrize(
    "fields",
    [
        {"weights": "hf-hub:org/tiny"},
        {"name": "hf-hub:org/tiny"},
        {"name": "tiny", "weights": "hf-hub:org/tiny"},
        {"weights": "hf-hub:org/tiny", "revision": "a" * 40},
    ],
)
def test_a_hub_model_is_loaded_from_the_cache_without_a_network(fields, hub_cache, tiny, photo):
    loaded = load_embedder(spec(**fields), hub_cache)
    np.testing.assert_array_equal(vectors(loaded, photo), vectors(tiny, photo))
    assert loaded.info.name == "org/tiny"


def test_a_hub_model_that_cannot_be_fetched_says_so_in_one_line(cache_dir):
    error = failure(cache_dir, weights="hf-hub:org/absent")
    assert "hf-hub:org/absent" in str(error)
    assert "no network" in str(error)
    assert str(cache_dir) in str(error)


def test_another_revision_than_the_cached_one_is_not_made_up(hub_cache):
    error = failure(hub_cache, weights="hf-hub:org/tiny", revision="b" * 40)
    assert "no network" in str(error)


@pytest.fixture
def tag(hub_cache, architectures, monkeypatch):
    """tag(**facts): registers the pretrained tag `small` of `tiny`, on the hub as org/tiny."""

    def register(name="tiny", **facts):
        config = pretrained._pcfg(hf_hub="org/tiny/", **facts)
        monkeypatch.setitem(pretrained._PRETRAINED, name, {"small": config})
        snapshot = hub_cache / "models--org--tiny" / "snapshots" / ("a" * 40)
        return snapshot / "open_clip_model.safetensors"

    return register


def test_a_pretrained_tag_is_loaded(tag, hub_cache, tiny, photo):
    tag()
    loaded = load_embedder(spec(name="tiny", weights="small"), hub_cache)
    np.testing.assert_array_equal(vectors(loaded, photo), vectors(tiny, photo))


def test_a_tags_preprocessing_is_used(tag, hub_cache, tiny, photo):
    tag(mean=(0.1, 0.2, 0.3), resize_mode="squash")
    loaded = load_embedder(spec(name="tiny", weights="small"), hub_cache)
    assert not np.array_equal(loaded.preprocess(photo), tiny.preprocess(photo))
    assert not np.allclose(vectors(loaded, photo)[0], vectors(tiny, photo)[0], atol=1e-3)


def test_a_tag_trained_with_quickgelu_gets_it(tag, hub_cache, tiny_weights, cache_dir, photo):
    # open_clip itself builds it with GELU and warns: every vector would be a little wrong.
    tag(quick_gelu=True)
    loaded = load_embedder(spec(name="tiny", weights="small"), hub_cache)
    right = load_embedder(spec(name="tiny-quickgelu", weights=str(tiny_weights)), cache_dir)
    np.testing.assert_array_equal(vectors(loaded, photo), vectors(right, photo))


def test_a_tag_trained_without_quickgelu_is_refused_where_it_is_built_in(tag, hub_cache):
    tag(name="tiny-quickgelu")
    assert "use the architecture 'tiny'" in str(
        failure(hub_cache, name="tiny-quickgelu", weights="small")
    )


# --- the fingerprint ----------------------------------------------------------------------


def test_the_fingerprint_follows_the_content_and_not_the_path(
    tiny, tiny_weights, cache_dir, tmp_path
):
    shutil.copy(tiny_weights, tmp_path / "copy.safetensors")
    copy = load_embedder(spec(name="tiny", weights=str(tmp_path / "copy.safetensors")), cache_dir)
    assert copy.info.fingerprint == tiny.info.fingerprint
    state = load_file(tiny_weights)
    state["visual.proj"] += 1e-3
    save_file(state, tmp_path / "other.safetensors")
    other = load_embedder(spec(name="tiny", weights=str(tmp_path / "other.safetensors")), cache_dir)
    assert other.info.fingerprint != tiny.info.fingerprint


def test_precision_is_no_part_of_the_fingerprint(tiny, tiny_weights, cache_dir):
    half = load_embedder(spec(name="tiny", weights=str(tiny_weights), precision="BF16"), cache_dir)
    assert half.info.fingerprint == tiny.info.fingerprint


def test_a_file_is_hashed_once_while_it_stays_the_same(tmp_path):
    file, cache = tmp_path / "w", tmp_path / "cache"
    file.write_bytes(b"one")
    os.utime(file, (1, 1))
    first = content_hash(file, cache)
    file.write_bytes(b"two")
    os.utime(file, (1, 1))  # unchanged, as far as size and time tell
    assert content_hash(file, cache) == first
    os.utime(file, (2, 2))
    assert content_hash(file, cache) != first


def test_a_spoilt_note_of_the_hash_is_made_again(tmp_path):
    file, cache = tmp_path / "w", tmp_path / "cache"
    file.write_bytes(b"one")
    first = content_hash(file, cache)
    (note,) = (cache / "hashes").iterdir()
    note.write_text('{"sha')
    assert content_hash(file, cache) == first


def test_a_cache_that_cannot_be_written_does_not_matter(tmp_path):
    file = tmp_path / "w"
    file.write_bytes(b"one")
    (tmp_path / "cache").write_text("in the way")
    assert len(content_hash(file, tmp_path / "cache")) == 64
