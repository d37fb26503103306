"""Provider Demo: the small CLIP that comes with the package, on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lookalike_crds.image_collection import Distance, ModelSpec, Precision, Provider
from lookalike_serving.embed.protocol import Embedder, EmbedderInfo, ModelError, WeightsNotFound
from lookalike_serving.embed.provider import ModelFiles, ModelProvider

NAME = "demo-clip"


class Demo(ModelProvider):
    needs: ClassVar[tuple[str, ...]] = ("torch",)

    def load(self, spec: ModelSpec, cache_dir: Path, *, random_weights: bool) -> Embedder:
        return load_demo()

    def files(self, spec: ModelSpec, cache_dir: Path) -> ModelFiles:
        raise ModelError("the Demo model comes with Lookalike: there is nothing to copy")


def load_demo(folder: Path | None = None) -> Embedder:
    """The shipped model, or the one in a folder, in float32: it is too small to gain from less.

    Raises WeightsNotFound or ModelError if the installation is damaged.
    """
    import torch

    from lookalike_serving.demo.model import WEIGHTS, CorruptWeights, load_demo_model
    from lookalike_serving.embed.fingerprint import fingerprint
    from lookalike_serving.embed.layout import layout_of
    from lookalike_serving.embed.preprocess import Preprocessing
    from lookalike_serving.embed.torch_embedder import TextTower, TorchEmbedder

    folder = folder or WEIGHTS
    try:
        demo = load_demo_model(folder)
    except FileNotFoundError as error:
        raise WeightsNotFound(
            f"the demo model's weights are missing ({error.filename}): install lookalike again"
        ) from None
    except CorruptWeights as error:
        raise ModelError(str(error)) from None
    model, size = demo.model.requires_grad_(False), demo.preprocess.image_size
    layout = layout_of(model.image)
    model.image.to(memory_format=layout)
    preprocessing = Preprocessing(
        height=size,
        width=size,
        mean=demo.preprocess.mean,
        std=demo.preprocess.std,
        interpolation="bicubic",
        resize_mode="squash",
    )
    *others, last = demo.languages
    languages = f"{', '.join(others)} and {last}" if others else last
    with torch.inference_mode():
        dimension = model.encode_image(torch.zeros(1, 3, size, size)).shape[1]
    info = EmbedderInfo(
        provider=Provider.DEMO,
        name=NAME,
        weights=f"sha256:{demo.sha256}",
        fingerprint=fingerprint(Provider.DEMO, NAME, demo.space, preprocessing),
        dimension=dimension,
        image_size=size,
        min_side=preprocessing.min_side,
        device="cpu",
        precision=Precision.FP32,
        distance_hint=Distance.COSINE,
        logit_scale=float(model.logit_scale.exp()),
        supports_text=True,
        ability=f"knows the demo catalogue only: drawn products and their words in {languages}",
    )
    embedder = TorchEmbedder(
        encode_image=model.encode_image,
        text=TextTower(
            model.encode_text,
            demo.tokenizer,
            unknown_words=demo.tokenizer.unknown_words,
            understands=demo.tokenizer.understands,
            left_out=demo.tokenizer.left_out,
        ),
        preprocessing=preprocessing,
        info=info,
        layout=layout,
    )
    embedder.embed_texts(["warm"])  # the first call of a tower takes much longer than the next
    return embedder
