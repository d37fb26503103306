"""A TorchScript file -> an `Embedder`, in FP32: the file fixes how it computes.

What a network reads and gives is not stated in its file, so it is run once with two pictures.
"""

from __future__ import annotations

import warnings
import zipfile
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lookalike_crds.image_collection import Distance, ModelSpec, Precision, Provider
from lookalike_serving.embed.device import best_device
from lookalike_serving.embed.fingerprint import fingerprint
from lookalike_serving.embed.preparation import EXAMPLE, PREPROCESSOR, preparation
from lookalike_serving.embed.preprocess import Preprocessing
from lookalike_serving.embed.protocol import EmbedderInfo, ModelError
from lookalike_serving.embed.torch_embedder import TorchEmbedder
from lookalike_serving.embed.weights import content_hash

if TYPE_CHECKING:
    from lookalike_serving.embed.torch_script.files import Files

SSCD = Preprocessing(
    height=320,
    width=320,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    interpolation="bilinear",
    resize_mode="squash",
)
"""How a picture is prepared unless the model's folder says it: as the README of SSCD recommends for
batches (Pizzi et al. 2022, `skew_320`)."""


def load_torch_script(spec: ModelSpec, files: Files, cache_dir: Path) -> TorchEmbedder:
    """Raises ModelError if the file is no TorchScript, or does not give vectors for pictures."""
    model = _read(files.network)
    preprocessing = SSCD if files.preprocessor is None else preparation(files.preprocessor)
    device = best_device()
    model.to(device)
    name = spec.name or files.network.name
    content = content_hash(files.network, cache_dir)
    info = EmbedderInfo(
        provider=Provider.TORCH_SCRIPT,
        name=name,
        weights=spec.weights,
        fingerprint=fingerprint(Provider.TORCH_SCRIPT, name, content, preprocessing),
        dimension=_dimension(model, preprocessing, device, files.network),
        image_size=max(preprocessing.height, preprocessing.width),
        min_side=preprocessing.min_side,
        device=str(device),
        precision=Precision.FP32,
        distance_hint=Distance.COSINE,
        logit_scale=None,
        supports_text=False,
        ability="finds similar pictures; knows no words",
        bytes=sum(
            each.numel() * each.element_size()
            for each in chain(model.parameters(), model.buffers())
        ),
    )
    return TorchEmbedder(encode_image=model, text=None, preprocessing=preprocessing, info=info)


def _read(file: Path) -> Any:
    """The network, as a `ScriptModule` that does not train."""
    if _holds_tensors_alone(file):
        raise ModelError(
            f"{file} holds weights without their network: save the whole network, by "
            "torch.jit.script(network).save(file), or use provider Timm or OpenClip with the name "
            "of its architecture"
        )
    try:
        with warnings.catch_warnings():
            # Of torch.jit as a whole, in favour of formats that published files do not have.
            warnings.simplefilter("ignore", FutureWarning)
            model = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(
            f"{file} cannot be read as TorchScript ({_last_line(error)}): check that the file is "
            "whole, and that torch.jit.save wrote it"
        ) from None
    return model.eval()


def _holds_tensors_alone(file: Path) -> bool:
    """Whether `torch.save` wrote it: then there is no code in it."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False
    parts = {name.partition("/")[2] for name in names}
    return "data.pkl" in parts and not any(part.startswith("code/") for part in parts)


def _dimension(model: Any, preprocessing: Preprocessing, device: torch.device, file: Path) -> int:
    """Of one vector. The network is run more than once, because TorchScript optimises what it has
    seen, which makes the second call the slowest."""
    size = (preprocessing.height, preprocessing.width)
    try:
        with torch.inference_mode():
            for count in (2, 1, 1, 2):
                vectors = model(torch.zeros(count, 3, *size, device=device))
    except RuntimeError as error:
        raise ModelError(
            f"{file} cannot embed pictures of {size[0]} x {size[1]} pixels ({_last_line(error)}): "
            f"say how pictures are prepared for it in {PREPROCESSOR} beside it, such as {EXAMPLE}"
        ) from None
    if not isinstance(vectors, torch.Tensor):
        raise ModelError(
            f"{file} gives a {type(vectors).__name__} for two pictures, and a tensor of shape (2, "
            "d) is needed: save a network that gives the vectors alone"
        )
    if vectors.ndim != 2 or len(vectors) != 2 or not vectors.is_floating_point():
        raise ModelError(
            f"{file} gives {str(vectors.dtype).removeprefix('torch.')} of shape "
            f"{tuple(vectors.shape)} for two pictures, and floating-point numbers of shape (2, d) "
            "are needed: save a network that pools its features into one vector for each picture"
        )
    return int(vectors.shape[1])


def _last_line(error: BaseException) -> str:
    """Of an error of TorchScript, which begins with where it happened in its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("Exception raised from")]
    return (told or [type(error).__name__])[-1][:300]
