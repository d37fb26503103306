"""Provider Timm: the features of any timm model, for images alone.

The classifier is left away: what is compared is the pooled vector that it would read. The model's
own configuration says how a picture is prepared.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import load_state_dict, remap_state_dict
from torch import nn

from lookalike_crds.image_collection import Distance, ModelSpec, Provider
from lookalike_serving.embed.device import best_device
from lookalike_serving.embed.execution.torch_source import TorchSource
from lookalike_serving.embed.execution.towers import Part
from lookalike_serving.embed.fingerprint import fingerprint
from lookalike_serving.embed.preprocess import Preprocessing
from lookalike_serving.embed.protocol import EmbedderInfo, ModelError
from lookalike_serving.embed.provider import failed_import
from lookalike_serving.embed.timm.weights import Weights, known_architecture, locate
from lookalike_serving.embed.unfilled import read_from_file
from lookalike_serving.embed.weights import content_hash, unfit

if TYPE_CHECKING:
    from pathlib import Path

_BENCHMARK_SEED = 20240229


def read_timm(spec: ModelSpec, cache_dir: Path, *, random_weights: bool) -> TorchSource:
    """Build the model that `spec` names.

    With `random_weights` a spec without weights gets seeded random ones: a baseline, no model.
    Raises ModelError, or WeightsNotFound.
    """
    if random_weights and not spec.weights:
        name, said, content = spec.name or "resnet18", None, f"random:{_BENCHMARK_SEED}"
        known_architecture(name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_BENCHMARK_SEED)
            model = timm.create_model(name, num_classes=0)
    else:
        weights = locate(spec, cache_dir)
        model, name, said = _build(weights), weights.name, weights.said
        content = content_hash(weights.file, cache_dir)
    model.eval().requires_grad_(False)

    preprocessing = Preprocessing.from_timm(resolve_model_data_config(model))
    size = (preprocessing.height, preprocessing.width)
    info = EmbedderInfo(
        provider=Provider.TIMM,
        name=name,
        weights=said,
        fingerprint=fingerprint(Provider.TIMM, name, content, preprocessing),
        dimension=_dimension(model, size, name),
        image_size=max(size),
        min_side=preprocessing.min_side,
        device=str(best_device()),
        precision="FP32",
        distance_hint=Distance.COSINE,
        logit_scale=None,
        supports_text=False,
        ability="finds similar photographs; knows no words",
        pooling=_pooling(model),
    )

    def parts(model: nn.Module) -> tuple[Part, None]:
        return Part("image", model, model, torch.zeros(2, 3, *size), varies=(0,)), None

    return TorchSource(model, parts, None, preprocessing, info, cache_dir)


def _build(weights: Weights) -> nn.Module:
    """The model without its classifier. Each of its values is from the file, or it is refused."""
    return read_from_file(lambda: _read(weights))


def _read(weights: Weights) -> nn.Module:
    try:
        model: nn.Module = timm.create_model(weights.source, num_classes=0)
        state = load_state_dict(str(weights.file), weights_only=True)
        if weights.in_order:
            whole = timm.create_model(weights.source)
            if len(whole.state_dict()) != len(state):
                raise ValueError(f"{len(state)} tensors, not {len(whole.state_dict())}")
            state = remap_state_dict(state, whole, allow_reshape=False)
        elif model.state_dict().keys() - state.keys():
            state = _translated(state, model)
        found = model.load_state_dict(state, strict=False)
    except Exception as error:
        if failed_import(error) is not None:
            raise
        raise unfit(weights.file, weights.name, str(error)) from None
    heads = _classifiers(model)
    strange = [key for key in found.unexpected_keys if not key.startswith(heads)]
    if found.missing_keys:
        raise unfit(weights.file, weights.name, f"it lacks {_listed(found.missing_keys)}")
    if strange:
        raise unfit(weights.file, weights.name, f"the model has no {_listed(strange)}")
    return model


def _translated(state: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """Weights as their authors published them, in timm's names, if timm knows how."""
    translate = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    translated: dict[str, Any] = translate(state, model) if translate is not None else state
    return translated


def _classifiers(model: Any) -> tuple[str, ...]:
    """What the names of a classifier's tensors start with: these alone may be left over."""
    named = model.pretrained_cfg.get("classifier") or ()
    return tuple(f"{name}." for name in ((named,) if isinstance(named, str) else named))


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _dimension(model: nn.Module, size: tuple[int, int], name: str) -> int:
    with torch.inference_mode():
        features = model(torch.zeros(1, 3, *size))
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise ModelError(
            f"{name!r} gives a map of features, not one vector for a picture: choose a model that "
            "pools them"
        )
    return int(features.shape[1])


def _pooling(model: nn.Module) -> str:
    """Such as `avg`, `token`, `map`; what timm names it."""
    for holder in (model, getattr(model, "head", None)):
        pool = getattr(holder, "global_pool", None)
        if isinstance(pool, str) and pool:
            return pool
        if isinstance(kind := getattr(pool, "pool_type", None), str) and kind:
            return kind
    return "of the model's own"
