"""What the demo model is taught in five languages, and that it learned it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.demo.captions import parts, split
from lookalike_serving.demo.languages import LANGUAGES, Language, Said
from lookalike_serving.demo.model import load_demo_model
from lookalike_serving.demo.render import render
from lookalike_serving.demo.tokenizer import folded
from lookalike_serving.embed import Embedder, load_embedder

PRODUCTS = split()[1][::9][:60]
"""Held-out ones."""
each_language = pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: each.tag)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return load_embedder(ModelSpec(), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def images(embedder: Embedder) -> NDArray[np.float32]:
    """(60, d): one picture of each product."""
    rng = np.random.default_rng(11)
    pictures = [np.asarray(render(*product, rng, (160, 140))) for product in PRODUCTS]
    return embedder.embed_pixels([embedder.preprocess(picture) for picture in pictures])


@each_language
def test_held_out_products_are_found_by_their_words(
    embedder: Embedder, images: NDArray[np.float32], language: Language
) -> None:
    """60 products it never saw, one picture each: chance finds 1 in 60 at the first place."""
    texts = embedder.embed_texts([language.plain(Said(*product)) for product in PRODUCTS])
    first = (texts @ images.T).argmax(1)
    assert (first == np.arange(len(PRODUCTS))).mean() > 0.9


@each_language
def test_every_word_of_its_sentences_is_in_the_vocabulary(language: Language) -> None:
    model, rng = load_demo_model(), np.random.default_rng(0)
    assert language.name in model.languages
    for product in split()[0][:400]:
        said = language.sentence(parts(product, rng), rng)
        assert model.tokenizer.unknown_words(said) == [], said


def test_no_word_names_a_part_in_one_language_and_nothing_in_another() -> None:
    names = {folded(word) for language in LANGUAGES for word in language.names}
    fillers = {folded(word) for language in LANGUAGES for word in language.fillers}
    assert names & fillers == set()


@pytest.mark.parametrize(
    ("tag", "product", "words"),
    [
        ("en", ("mug", "red", "striped"), "red striped mug"),
        ("de", ("mug", "red", "striped"), "rote gestreifte Tasse"),
        ("de", ("chair", "green", "checked"), "grüner karierter Stuhl"),
        ("de", ("dress", "pink", "starry"), "rosa Kleid mit Sternen"),
        ("es", ("mug", "red", "striped"), "taza roja a rayas"),
        ("es", ("hat", "white", "plain"), "sombrero blanco liso"),
        ("fr", ("dress", "green", "striped"), "robe verte à rayures"),
        ("fr", ("hat", "purple", "speckled"), "chapeau violet moucheté"),
        ("ja", ("mug", "red", "striped"), "赤い縞模様のマグカップ"),
        ("ja", ("shoe", "grey", "floral"), "灰色の花柄の靴"),
    ],
)
def test_words_agree_as_the_language_wants_it(
    tag: str, product: tuple[str, str, str], words: str
) -> None:
    (language,) = [each for each in LANGUAGES if each.tag == tag]
    assert language.plain(Said(*product)) == words


def test_new_words_leave_pictures_where_they_were_and_so_no_index_is_filled_again() -> None:
    model = load_demo_model()
    state = sorted(model.model.image.state_dict().items())
    weights = [tensor.half().numpy() for _, tensor in state if tensor.is_floating_point()]
    digest = hashlib.sha256(b"".join(each.tobytes() for each in weights)).hexdigest()
    assert (model.space[:12], digest[:12]) == ("709329da7745", "534fbc1cf800")
