"""Provider Plugin: the example of docs/plugins.md as it stands, and plugins that misbehave."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_serving.embed import ModelError, load_embedder
from lookalike_serving.embed.protocol import ModelUnavailable, PackageMissing, WeightsNotFound
from lookalike_serving.embed.registry import check_model

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
GOOD = """
import numpy as np
class Mine:
    size = 8
    def __init__(self, weights): pass
    def embed_images(self, images): return images.mean((1, 2))
"""
Write = Callable[..., ModelSpec]


@pytest.fixture
def plugin(tmp_path: Path) -> Write:
    def write(code: str, *, kind: str = "Mine", **more: str) -> ModelSpec:
        file = tmp_path / "mine.py"
        file.write_text(code)
        return ModelSpec(provider=Provider.PLUGIN, name=f"{file}:{kind}", **more)

    return write


def picture(*colour: int) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (40, 60, 3)).copy()


def test_the_example_of_the_page_finds_pictures_by_picture_and_words(
    plugin: Write, cache_dir: Path
) -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    assert len(found[1].splitlines()) <= 34
    model = load_embedder(plugin(found[1], kind="Colours"), cache_dir)
    info = model.info
    assert (info.dimension, info.image_size, info.supports_text) == (4, 64, True)
    shades = [picture(250, 30, 20), picture(200, 10, 40), picture(20, 240, 30)]
    red, dark_red, green = model.embed_pixels([model.preprocess(each) for each in shades])
    assert red @ dark_red > 0.95 > red @ green
    (words,) = model.embed_texts(["something red"])
    assert words @ red > words @ green
    assert np.linalg.norm(red) == pytest.approx(1)


def test_a_plugin_without_texts_knows_no_words(plugin: Write, cache_dir: Path) -> None:
    model = load_embedder(plugin(GOOD), cache_dir)
    assert not model.info.supports_text
    with pytest.raises(ModelError, match="knows no words"):
        model.embed_texts(["red"])
    assert model.embed_pixels([]).shape == (0, 3)


def test_a_plugin_says_what_it_does_not_read(plugin: Write, cache_dir: Path) -> None:
    silent = load_embedder(plugin(GOOD), cache_dir)
    assert silent.left_out("a b c d") == ""
    reader = "    def left_out(self, text): return text[3:]\n"
    assert load_embedder(plugin(GOOD + reader), cache_dir).left_out("a b c") == " c"
    broken = "    def left_out(self, text): return text.nothing\n"
    with pytest.raises(ModelError, match="failed in left_out"):
        load_embedder(plugin(GOOD + broken), cache_dir).left_out("a b c")


def test_other_code_is_another_model_unless_it_says_its_version(
    plugin: Write, cache_dir: Path
) -> None:
    first = load_embedder(plugin(GOOD), cache_dir).info.fingerprint
    assert load_embedder(plugin(GOOD), cache_dir).info.fingerprint == first
    assert load_embedder(plugin(GOOD + "# more\n"), cache_dir).info.fingerprint != first
    versioned = GOOD.replace("size = 8", "size = 8; version = '1'")
    same = load_embedder(plugin(versioned), cache_dir).info.fingerprint
    assert load_embedder(plugin(versioned + "# more\n"), cache_dir).info.fingerprint == same


def test_other_weights_are_another_model(plugin: Write, cache_dir: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "a.npy").write_bytes(b"1")
    first = load_embedder(plugin(GOOD, weights=str(weights)), cache_dir).info.fingerprint
    (weights / "b.npy").write_bytes(b"2")
    assert load_embedder(plugin(GOOD, weights=str(weights)), cache_dir).info.fingerprint != first
    with pytest.raises(WeightsNotFound, match="gone"):
        check_model(plugin(GOOD, weights=str(tmp_path / "gone")))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("class Mine(", "is not Python"),
        ("x = '\0'", "is not Python"),
        ("class Other: pass", "has no class Mine; it has Other"),
    ],
)
def test_a_file_without_the_class_is_told_before_anything_starts(
    code: str, told: str, plugin: Write
) -> None:
    with pytest.raises(ModelError, match=r"mine\.py:Mine") as caught:
        check_model(plugin(code))
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["/nowhere/mine.py:Mine", "hues", "Timm"])
def test_a_name_of_nothing_says_what_to_write(name: str) -> None:
    with pytest.raises(ModelError, match=r"spec\.model\.name"):
        check_model(ModelSpec(provider=Provider.PLUGIN, name=name))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("import numpy as np", "raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("import numpy as np", "1 / 0", "cannot be imported: ZeroDivisionError"),
        ("(self, weights): pass", "(self): pass", "cannot be created: TypeError"),
        ("size = 8", "size = 0", "size is 0: set it to 1 to 4096"),
        ("size = 8", "fit = 'wide'", "fit is 'wide': set it to crop or squash"),
        ("embed_images", "embed_pictures", "has no method embed_images"),
        ("images.mean((1, 2))", "images.mean()", "gave an array of shape ()"),
        ("images.mean((1, 2))", "images.mean((1, 2))[:1]", "of shape (1, 3) for 2"),
        ("images.mean((1, 2))", "np.full((len(images), 3), np.nan)", "not finite"),
        ("images.mean((1, 2))", "'red'", "failed in embed_images: ValueError"),
        ("return images", "import sys; sys.exit(1)", "failed in embed_images: SystemExit"),
    ],
)
def test_whatever_a_plugin_does_wrong_is_told_with_its_name(
    old: str, new: str, told: str, plugin: Write, cache_dir: Path
) -> None:
    assert old in GOOD
    with pytest.raises(ModelError) as caught:
        load_embedder(plugin(GOOD.replace(old, new)), cache_dir)
    assert "mine.py:Mine'" in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_package_that_is_missing_is_named(plugin: Write, cache_dir: Path) -> None:
    with pytest.raises(PackageMissing, match="needs the Python package 'sails_of_tin'"):
        load_embedder(plugin("import sails_of_tin.mast\n" + GOOD), cache_dir)


def test_what_fails_later_fails_one_request(plugin: Write, cache_dir: Path) -> None:
    code = GOOD.replace("return images", "assert images.max() < 200, 'too bright'; return images")
    model = load_embedder(plugin(code), cache_dir)
    bright, dark = (model.preprocess(picture(each, each, each)) for each in (255, 9))
    with pytest.raises(ModelUnavailable, match="failed in embed_images: AssertionError: too brig"):
        model.embed_pixels([bright])
    assert model.embed_pixels([dark]).shape == (1, 3)


def test_a_package_registers_its_class_under_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    info = tmp_path / "my_hues-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-hues\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lookalike.embedders]\nhues = my_hues:Mine\n")
    (tmp_path / "my_hues.py").write_text(GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_hues", raising=False)
    spec = ModelSpec(provider=Provider.PLUGIN, name="hues")
    check_model(spec)
    assert load_embedder(spec, cache_dir).info.dimension == 3
