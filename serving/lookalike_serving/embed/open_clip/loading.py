"""Provider OpenClip: any architecture that open_clip builds, with weights from `weights`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import torch

from lookalike_crds.image_collection import Distance, ModelSpec, Provider
from lookalike_serving.embed.device import best_device
from lookalike_serving.embed.execution.torch_source import TorchSource
from lookalike_serving.embed.execution.towers import Part
from lookalike_serving.embed.fingerprint import fingerprint
from lookalike_serving.embed.open_clip.text import (
    causal_tower,
    full_context,
    text_encoder,
    text_weights,
)
from lookalike_serving.embed.open_clip.text_config import text_configuration
from lookalike_serving.embed.open_clip.weights import FOLDER, Weights, known_architecture, locate
from lookalike_serving.embed.preprocess import Preprocessing
from lookalike_serving.embed.protocol import EmbedderInfo, ModelError
from lookalike_serving.embed.provider import failed_import
from lookalike_serving.embed.torch_embedder import TextTower, Tokenizer
from lookalike_serving.embed.unfilled import read_from_file
from lookalike_serving.embed.weights import content_hash, unfit

_BENCHMARK_MODEL = "ViT-B-32"
_BENCHMARK_SEED = 20240229


def read_open_clip(spec: ModelSpec, cache_dir: Path, *, random_weights: bool) -> TorchSource:
    """Build the model that `spec` names.

    With `random_weights` a spec without weights gets seeded random ones: for speed work alone.
    Raises ModelError, or WeightsNotFound.
    """
    if random_weights and not spec.weights:
        name = spec.name or _BENCHMARK_MODEL
        known_architecture(name)
        model, architecture = _random(name), name
        said, content = None, f"random:{_BENCHMARK_SEED}"
    else:
        weights = locate(spec, cache_dir)
        model, architecture = _build(weights, cache_dir), weights.architecture
        name, said = weights.name, weights.said
        content = content_hash(weights.file, cache_dir)
    model.eval().requires_grad_(False)

    preprocessing = Preprocessing.from_open_clip(open_clip.get_model_preprocess_cfg(model))
    scale = float(model.logit_scale.exp().mean()) if hasattr(model, "logit_scale") else None
    size = (preprocessing.height, preprocessing.width)
    tokenizer = _tokenizer(architecture, cache_dir)
    example = tokenizer(["a red mug", "blue"])
    info = EmbedderInfo(
        provider=Provider.OPEN_CLIP,
        name=name,
        weights=said,
        fingerprint=fingerprint(Provider.OPEN_CLIP, name, content, preprocessing),
        dimension=_dimension(model, example),
        image_size=max(size),
        min_side=preprocessing.min_side,
        device=str(best_device()),
        precision="FP32",
        distance_hint=Distance.COSINE,
        logit_scale=scale,
        supports_text=True,
        ability="finds pictures by picture and by words",
    )
    causal = causal_tower(model)

    def parts(model: Any) -> tuple[Part, Part]:
        causal = causal_tower(model)
        images = torch.zeros(2, 3, *size)
        image = Part("image", model.visual, model.encode_image, images, varies=(0,))
        if causal is None:
            text = Part("text", text_weights(model), full_context(model), example, varies=(0,))
        else:
            text = Part("text", text_weights(model), causal.read, example, varies=(0, 1))
        return image, text

    return TorchSource(
        model=model,
        parts=parts,
        text=TextTower(text_encoder(model), tokenizer, *((causal.cut,) if causal else ())),
        preprocessing=preprocessing,
        info=info,
        cache_dir=cache_dir,
    )


def _random(name: str) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_BENCHMARK_SEED)
        return open_clip.create_model(name, pretrained_text=False)


def _build(weights: Weights, cache_dir: Path) -> Any:
    built_in = open_clip.get_model_config(weights.architecture)
    if (
        weights.tag
        and built_in
        and built_in.get("quick_gelu")
        and not weights.tag.get("quick_gelu")
    ):
        # open_clip only warns of this, and every vector would be wrong.
        raise ModelError(
            f"the weights {weights.said!r} were not trained with QuickGELU: use the architecture "
            f"{weights.architecture.removesuffix('-quickgelu')!r}"
        )
    preprocessing = {k: v for k, v in weights.tag.items() if k != "size"}
    text = text_configuration(weights, cache_dir)
    try:
        return read_from_file(
            lambda: open_clip.create_model(
                weights.architecture,
                pretrained=weights.pretrained,
                force_quick_gelu=weights.tag.get("quick_gelu", False),
                force_preprocess_cfg=preprocessing,
                cache_dir=str(cache_dir),
                require_pretrained=True,
                weights_only=True,
                **({"text_cfg": text} if text is not None else {}),
            )
        )
    except Exception as error:
        if failed_import(error) is not None:
            raise
        raise unfit(weights.file, weights.name, str(error)) from None


def _tokenizer(architecture: str, cache_dir: Path) -> Tokenizer:
    try:
        tokenizer: Tokenizer = open_clip.get_tokenizer(architecture, cache_dir=str(cache_dir))
        red, blue = tokenizer(["red", "blue"])
        if torch.equal(red, blue):
            # What transformers makes of a folder without a vocabulary knows no word, and says so
            # nowhere: every text would have the same vector.
            raise ValueError("it has no vocabulary: it cannot tell red from blue")
    except Exception as error:
        if failed_import(error) is not None:
            raise
        cause = " ".join(str(error).split())[:200]
        if architecture.startswith(FOLDER):
            raise ModelError(
                f"the tokenizer in {architecture.removeprefix(FOLDER)} cannot be loaded ({cause}): "
                "put the model's tokenizer.json and tokenizer_config.json into the folder"
            ) from None
        raise ModelError(
            f"the tokenizer of {architecture!r} cannot be loaded ({cause}): allow access to the "
            "hub, or use a folder that holds the tokenizer's files"
        ) from None
    return tokenizer


def _dimension(model: Any, tokens: torch.Tensor) -> int:
    """Asked of the model itself: configurations name it in too many places. Both towers end in the
    same space, and a text of a few tokens is much less work than a picture."""
    with torch.inference_mode():
        return int(text_encoder(model)(tokens).shape[1])
