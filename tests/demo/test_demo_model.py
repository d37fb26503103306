from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from lookalike_serving.demo.captions import caption, split, vocabulary
from lookalike_serving.demo.model import WEIGHTS, CorruptWeights, load_demo_model
from lookalike_serving.demo.products import COLOURS, KINDS, PATTERNS
from lookalike_serving.demo.tokenizer import Tokenizer


def test_held_out_combinations_are_in_no_training_picture_or_full_caption() -> None:
    train, held = split()
    assert not set(train) & set(held)
    assert len(train) + len(held) == len(KINDS) * len(COLOURS) * len(PATTERNS)
    assert len(held) >= 500


def test_captions_say_only_what_is_true() -> None:
    rng = np.random.default_rng(0)
    for product in split()[0][:200]:
        said = caption(product, rng)
        assert said.kind in {product[0], None}
        assert said.colour in {product[1], None}
        assert said.pattern in {product[2], None}
        assert any((said.kind, said.colour, said.pattern))


def test_every_word_of_a_caption_is_in_the_vocabulary() -> None:
    tokenizer, rng = Tokenizer(vocabulary(), 16), np.random.default_rng(0)
    for product in split()[0][:300]:
        assert tokenizer.unknown_words(caption(product, rng).text) == []


def test_a_text_without_a_known_word_still_has_a_finite_vector() -> None:
    loaded = load_demo_model()
    vector = loaded.model.encode_text(loaded.tokenizer(["", "xyzzy"]))
    assert torch.isfinite(vector).all()


def test_the_weights_are_small_enough_to_ship() -> None:
    assert (WEIGHTS / "demo-clip.safetensors").stat().st_size <= 20_000_000


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(WEIGHTS, tmp_path / "weights")
    file = folder / "demo-clip.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptWeights, match="damaged"):
        load_demo_model(folder)
