from __future__ import annotations

import functools

import open_clip
import pytest
import torch
from open_clip.transformer import TextTransformer

from lookalike_serving.embed.open_clip.text import causal_tower, full_context, text_encoder

TEXTS = ["mug", "a red mug with white stripes", "", "shoe " * 200, "Ünïcödé – 红色杯子"]


@functools.cache
def tokenizer(name):
    return open_clip.get_tokenizer(name)


@functools.cache
def build(name):
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = open_clip.create_model(name).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter) * 0.05
    return model


def encoded(encoder, texts, name):
    with torch.inference_mode():
        return encoder(tokenizer(name)(texts))


@pytest.mark.parametrize("name", ["tiny", "tiny-custom", "tiny-eos"])
def test_short_context_gives_the_vectors_of_the_full_one(name, architectures):
    model = build(name)
    tower = causal_tower(model)
    assert tower is not None
    for texts in ([t] for t in TEXTS):
        short = encoded(tower, texts, name)
        full = encoded(full_context(model), texts, name)
        torch.testing.assert_close(short, full, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny", "tiny-custom", "tiny-eos"])
def test_texts_of_different_lengths_share_a_batch(name, architectures):
    model = build(name)
    short = encoded(text_encoder(model), TEXTS, name)
    full = encoded(full_context(model), TEXTS, name)
    torch.testing.assert_close(short, full, rtol=1e-5, atol=1e-5)


def test_only_as_many_tokens_are_run_as_the_longest_text_has(architectures):
    model = build("tiny")
    lengths = []
    model.transformer.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
    encoded(text_encoder(model), ["mug", "red mug"], "tiny")
    assert lengths == [4]  # start, red, mug, end


def test_no_matrix_product_repacks_its_weights_for_each_text():
    # Attention's own first product did, as a batched one, before tokens went in length first.
    tower = text_encoder(TextTransformer(layers=1).eval().requires_grad_(False))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        encoded(tower, ["mug", "shoe", "red bag"], "ViT-B-32")
    calls = {event.key for event in profile.key_averages()}
    assert "aten::addmm" in calls
    assert "aten::bmm" not in calls


@pytest.mark.parametrize("name", ["tiny-both-ways", "tiny-coca"])
def test_towers_that_see_the_padding_get_all_of_it(name, architectures):
    model = build(name)
    assert causal_tower(model) is None
    assert torch.equal(
        encoded(text_encoder(model), ["mug"], name), encoded(model.encode_text, ["mug"], name)
    )


def test_a_mask_that_lets_one_token_look_ahead_is_not_causal():
    tower = TextTransformer(layers=1)
    tower.attn_mask[3, 4] = 0
    assert causal_tower(tower) is None


def test_a_tower_of_real_width_agrees():
    # ViT-B-32's own text tower, four of its twelve layers, untrained.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tower = TextTransformer(layers=4).eval()
    short = encoded(text_encoder(tower), TEXTS[:2], "ViT-B-32")
    full = encoded(tower, TEXTS[:2], "ViT-B-32")
    torch.testing.assert_close(short, full, rtol=1e-4, atol=1e-5)
