from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from lookalike_serving.embed.fingerprint import fingerprint
from lookalike_serving.embed.preprocess import Preprocessing
from lookalike_serving.images import decode_image

SIZES = [(640, 480), (480, 640), (500, 500), (1999, 333), (333, 1999), (64, 64), (40, 30)]


def ours_and_theirs(image, **config):
    """(3, s, s) float, normalised: by us, and by open_clip's own transform."""
    settings = PreprocessCfg(**{"size": 64, **config})
    theirs = image_transform_v2(settings, is_train=False)(Image.fromarray(image)).numpy()
    preprocessing = Preprocessing.from_open_clip(vars(settings))
    pixels = preprocessing(image)
    mean, std = (np.array(v).reshape(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    return (pixels / 255 - mean) / std, theirs


def cosine(a, b) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def resized(photo, size):
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_it_equals_open_clips_own_transform(size, mode, interpolation, photo):
    image = resized(photo, size)
    ours, theirs = ours_and_theirs(image, resize_mode=mode, interpolation=interpolation)
    assert ours.shape == theirs.shape == (3, 64, 64)
    assert cosine(ours, theirs) > 0.9999
    # Exactly, but where the reduction of a large source or the rounding of a half differ.
    assert np.abs(ours - theirs).mean() < 0.01


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (300, 300)])
def test_without_reduction_every_pixel_is_the_same(size, photo):
    ours, theirs = ours_and_theirs(resized(photo, size), size=224)
    one_level = 1 / 255 / 0.26
    assert np.abs(ours - theirs).max() <= 1.01 * one_level
    assert np.abs(ours - theirs).mean() < 0.02 * one_level


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_targets_need_not_be_square(mode, photo):
    ours, theirs = ours_and_theirs(photo, size=(48, 96), resize_mode=mode)
    assert ours.shape == theirs.shape == (3, 48, 96)
    assert cosine(ours, theirs) > 0.9999


def test_padding_has_the_models_fill_colour(photo):
    ours, theirs = ours_and_theirs(photo, resize_mode="longest", fill_color=255)
    assert cosine(ours, theirs) > 0.9999


def test_a_line_of_pixels_does_not_fail(photo):
    for size in ((1, 5000), (5000, 1), (1, 1)):
        for mode in ("shortest", "longest", "squash"):
            settings = vars(PreprocessCfg(size=64, resize_mode=mode))
            assert Preprocessing.from_open_clip(settings)(resized(photo, size)).shape == (3, 64, 64)


def test_the_result_is_contiguous_bytes(photo):
    pixels = Preprocessing.from_open_clip(vars(PreprocessCfg(size=64)))(photo)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


def test_vectors_are_those_of_open_clips_own_transform(tiny, photo):
    import open_clip

    settings = PreprocessCfg(size=64)
    theirs = image_transform_v2(settings, is_train=False)(Image.fromarray(photo))
    raw = (
        (theirs * torch.tensor(settings.std).view(3, 1, 1))
        + torch.tensor(settings.mean).view(3, 1, 1)
    ) * 255
    assert open_clip.get_model_config("tiny")["vision_cfg"]["image_size"] == tiny.info.image_size
    (ours,) = tiny.embed_pixels([tiny.preprocess(photo)])
    (reference,) = tiny.embed_pixels([raw.round().clamp(0, 255).to(torch.uint8).numpy()])
    assert float(ours @ reference) > 0.999


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_scaling_while_decoding_hardly_moves_the_vector(format, tiny, photo):
    out = io.BytesIO()
    Image.fromarray(resized(photo, (1600, 1200))).save(out, format, quality=90, compress_level=1)
    full = decode_image(out.getvalue()).pixels
    scaled = decode_image(out.getvalue(), min_side=tiny.info.image_size).pixels
    assert scaled.size < full.size / 3
    a, b = tiny.embed_pixels([tiny.preprocess(full), tiny.preprocess(scaled)])
    assert float(a @ b) > 0.999


def test_a_model_of_before_keeps_its_fingerprint_and_so_its_index():
    preprocessing = Preprocessing(64, 64, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    known = "948f285a1dbcff2184b6a877f972ba0f13dcba0faa541d37cb5377d4ff15744e"
    assert fingerprint("Demo", "demo-clip", "0" * 64, preprocessing) == known
