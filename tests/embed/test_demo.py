from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from lookalike_serving.demo.model import build
from lookalike_serving.embed import ModelError, WeightsNotFound
from lookalike_serving.embed.demo import load_demo

CONFIG: dict[str, Any] = {
    "image_size": 64,
    "mean": [0.66, 0.63, 0.62],
    "std": [0.28, 0.28, 0.28],
    "context": 16,
    "widths": [8, 16],
    "text_width": 16,
    "text_layers": 1,
    "dimension": 24,
    "words": ["mug", "red", "striped"],
}


def lay_out(folder: Path, **changed: Any) -> Path:
    """An untrained model, laid out as the trained one is."""
    config = {**CONFIG, **changed}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model, _, _ = build(config)
    data = save(model.state_dict())
    (folder / "demo-clip.safetensors").write_bytes(data)
    config["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay_out(tmp_path)


def test_images_and_texts_share_a_space(folder, photo):
    demo = load_demo(folder)
    images = demo.embed_pixels([demo.preprocess(photo)])
    texts = demo.embed_texts(["a red striped mug", "", "words it never saw"])
    assert (images.shape, texts.shape) == ((1, 24), (3, 24))
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-6)


def test_the_whole_image_is_squashed_to_the_models_square(folder, photo):
    demo = load_demo(folder)
    expected = Image.fromarray(photo).resize((64, 64), Image.Resampling.BICUBIC)
    seen = demo.preprocess(photo).transpose(1, 2, 0)
    assert np.abs(seen.astype(int) - np.asarray(expected)).mean() < 1


def test_vectors_are_those_of_the_network_itself(folder, photo):
    demo = load_demo(folder)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model, tokenizer, preprocess = build(CONFIG)
    pixels = torch.from_numpy(demo.preprocess(photo))[None] / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (preprocess.mean, preprocess.std))
    with torch.inference_mode():
        image = model.eval().encode_image((pixels - mean) / std)
        text = model.encode_text(tokenizer(["red mug"]))
    np.testing.assert_allclose(demo.embed_pixels([demo.preprocess(photo)]), image, atol=1e-5)
    np.testing.assert_allclose(demo.embed_texts(["red mug"]), text, atol=1e-5)


def test_words_it_never_saw_are_named(folder):
    demo = load_demo(folder)
    assert demo.unknown_words("red quantum mugs") == ["quantum"]


def test_info_tells_what_it_is(folder):
    info = load_demo(folder).info
    assert (info.provider, info.dimension, info.image_size) == ("Demo", 24, 64)
    assert info.supports_text


def test_words_that_are_added_leave_the_fingerprint_and_so_the_index(folder):
    before = load_demo(folder).info
    words = [*CONFIG["words"], "rot"]
    space = before.weights.removeprefix("sha256:")
    after = load_demo(lay_out(folder, words=words, space=space)).info
    assert after.weights != before.weights
    assert after.fingerprint == before.fingerprint


@pytest.mark.parametrize(
    ("languages", "said"),
    [({}, "English"), ({"languages": ["English", "German", "Greek"]}, "English, German and Greek")],
)
def test_it_says_which_languages_it_knows(folder, languages, said):
    ability = load_demo(lay_out(folder, **languages)).info.ability
    assert ability.endswith(f"drawn products and their words in {said}")


def test_damaged_weights_are_refused(folder):
    data = bytearray((folder / "demo-clip.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "demo-clip.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match="Install lookalike again"):
        load_demo(folder)


def test_missing_weights_are_refused(folder):
    (folder / "demo-clip.safetensors").unlink()
    with pytest.raises(WeightsNotFound, match="install lookalike again"):
        load_demo(folder)
