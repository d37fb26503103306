"""OpenClip models with tokenizers of their own: SigLIP's and XLM-R's layouts, in local folders.

The folders are laid out as the published ones are; models and vocabularies are tiny.
"""

from __future__ import annotations

import json
import shutil
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import M2M100Config, XLMRobertaConfig

from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_serving.embed import ModelError, load_embedder
from lookalike_serving.embed.protocol import PackageMissing

VISION = {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
WORDS = "a red mug blue plate rote tasse blaue teller".split()


def unigram(folder: Path, special: list[str], ending: str, kind: str) -> int:
    """A tokenizer.json as sentencepiece vocabularies are converted; its number of tokens."""
    vocabulary = [(word, 0.0) for word in special]
    vocabulary += [("▁" + word, -1.0) for word in WORDS] + [("▁", -3.0)]
    vocabulary += [(letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    made = Tokenizer(models.Unigram(vocabulary, unk_id=special.index("<unk>")))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single=ending, special_tokens=[(each, special.index(each)) for each in special]
    )
    made.add_special_tokens(special)
    made.save(str(folder / "tokenizer.json"))
    named = {"unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "</s>"}
    if "<s>" in special:
        named |= {"bos_token": "<s>", "cls_token": "<s>", "sep_token": "</s>"}
    config = {"tokenizer_class": kind, "model_max_length": 64, **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return len(vocabulary)


def written(folder: Path, config: dict[str, Any]) -> Path:
    """The folder with `open_clip_config.json` and random weights that fit it."""
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        local = deepcopy(config)
        if "hf_model_name" in local["text_cfg"]:
            local["text_cfg"]["hf_model_name"] = str(folder)
        model = open_clip.create_model(
            f"local-dir:{folder}",
            text_cfg={**local["text_cfg"], "hf_model_pretrained": False},
            load_weights=False,
        )
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("siglip")
    size = unigram(folder, ["<pad>", "</s>", "<unk>"], "$A </s>", "T5Tokenizer")
    text = {
        "context_length": 16,
        "vocab_size": size,
        "hf_tokenizer_name": "timm/ViT-B-16-SigLIP",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 32,
        "heads": 2,
        "layers": 2,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
    }
    config = {
        "embed_dim": 32,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": VISION,
        "text_cfg": text,
    }
    return written(folder, config)


@pytest.fixture(scope="module")
def xlm_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("xlm-roberta")
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    size = unigram(folder, special, "<s> $A </s>", "XLMRobertaTokenizer")
    tower = XLMRobertaConfig(
        vocab_size=size,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    )
    tower.save_pretrained(folder)
    text = {
        "context_length": 16,
        "hf_model_name": "xlm-roberta-base",
        "hf_tokenizer_name": "xlm-roberta-base",
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "mlp",
    }
    return written(folder, {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": text})


@pytest.fixture(scope="module")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nllb")
    special = ["<s>", "<pad>", "</s>", "<unk>", "eng_Latn"]
    size = unigram(folder, special, "eng_Latn $A </s>", "NllbTokenizer")
    M2M100Config(
        vocab_size=size,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=40,
        pad_token_id=1,
    ).save_pretrained(folder)
    text = {
        "context_length": 16,
        "hf_model_name": "facebook/nllb-200-distilled-600M",
        "hf_tokenizer_name": "facebook/nllb-200-distilled-600M",
        "hf_pooler_type": "cls_pooler",
        "hf_proj_type": "linear",
    }
    return written(folder, {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": text})


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def spec(folder: Path) -> ModelSpec:
    return ModelSpec(
        provider=Provider.OPEN_CLIP, name="mine", weights=str(folder), precision="FP32"
    )


@pytest.mark.parametrize("folder", ["siglip", "xlm_roberta"])
def test_a_folder_brings_its_own_tokenizer(
    folder: str, request: pytest.FixtureRequest, cache_dir: Path
) -> None:
    place: Path = request.getfixturevalue(folder)
    model = load_embedder(spec(place), cache_dir)
    texts = ["a red mug", "blaue teller"]
    long = " ".join(["red", "mug"] * 20)
    (rest,) = {model.left_out(long), model.left_out(long + " ")}
    read = 16 - (1 if folder == "siglip" else 2)
    assert rest.split() == long.split()[read:]
    vectors = model.embed_texts(texts)
    assert vectors.shape == (2, 32)
    assert vectors[0] @ vectors[1] < 0.999
    np.testing.assert_allclose(model.embed_texts(texts[:1])[0], vectors[0], atol=1e-5)


def test_a_tower_of_nllb_is_loaded_from_its_folder(nllb: Path, cache_dir: Path) -> None:
    model = load_embedder(spec(nllb), cache_dir)
    red, same, blue = model.embed_texts(["a red mug", "a red mug", "blaue teller"])
    np.testing.assert_allclose(red, same, atol=1e-6)
    assert not np.allclose(red, blue, atol=1e-4)
    long = " ".join(["red", "mug"] * 20)
    rest = model.left_out(long)
    assert rest
    assert long.endswith(rest)
    assert rest.split()[0] in ("red", "mug"), "words are named as a whole"
    assert model.left_out(long.removesuffix(rest)) == ""


def test_siglip_reads_its_own_words_in_small_letters(siglip: Path, cache_dir: Path) -> None:
    model = load_embedder(spec(siglip), cache_dir)
    small, capital, other = model.embed_texts(["a red mug", "A Red, MUG!", "a blue plate"])
    np.testing.assert_allclose(small, capital, atol=1e-6)
    assert not np.allclose(small, other, atol=1e-3)


@pytest.mark.parametrize("folder", ["siglip", "xlm_roberta"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    folder: str,
    request: pytest.FixtureRequest,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place: Path = request.getfixturevalue(folder)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PackageMissing) as caught:
        load_embedder(spec(place), cache_dir)
    assert str(caught.value) == (
        "provider OpenClip needs the Python package 'transformers', which is not installed: "
        "pip install 'lookalike[serving]'"
    )


@pytest.mark.parametrize("file", ["tokenizer.json", "open_clip_config.json"])
def test_a_folder_that_lacks_a_file_is_no_matter_of_the_hub(
    file: str, siglip: Path, cache_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(siglip, tmp_path / "copy")
    (tmp_path / "copy" / file).unlink()
    with pytest.raises(ModelError) as caught:
        load_embedder(spec(tmp_path / "copy"), cache_dir)
    assert str(tmp_path / "copy") in str(caught.value)
    assert "hub" not in str(caught.value)


def test_a_text_tower_without_its_configuration_says_which_file_is_missing(
    xlm_roberta: Path, cache_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(xlm_roberta, tmp_path / "copy")
    (tmp_path / "copy" / "config.json").unlink()
    with pytest.raises(ModelError, match=r"'xlm-roberta-base'.*config\.json") as caught:
        load_embedder(spec(tmp_path / "copy"), cache_dir)
    assert "spec.model.name" not in str(caught.value)
