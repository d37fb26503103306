"""Providers are found by their entry points; what is wrong with one is told with its remedy.

The packages here are real to Python's metadata: a folder of `sys.path` with a `.dist-info` in it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_serving.embed import ModelError, load_embedder
from lookalike_serving.embed.protocol import PackageMissing
from lookalike_serving.embed.registry import OWN, check_model, provider_of, registered

TIMM = ModelSpec(provider=Provider.TIMM, name="resnet50.a1_in1k")
PROVIDER = """
from lookalike_serving.embed.provider import ModelProvider

class Mine(ModelProvider):
    {body}
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs a package with one module, and with entry points of our group."""

    def install(name: str, entries: str, module: str, code: str) -> None:
        folder = tmp_path / name
        info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[lookalike.embedders]\n{entries}\n")
        (folder / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(folder)

    return install


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the providers that come with Lookalike, so that a package may have their names."""
    import lookalike_serving.embed.registry as registry

    every = registry.entry_points
    monkeypatch.setattr(
        registry,
        "entry_points",
        lambda **which: [e for e in every(**which) if e.dist is None or e.dist.name != OWN],
    )


def test_the_providers_that_come_with_lookalike_are_registered() -> None:
    known = registered()
    assert {"Demo", "OpenClip", "Timm"} <= known.keys()
    for name in ("Demo", "OpenClip", "Timm"):
        (one,) = known[name]
        assert one.package == OWN
        assert one.provider().install.startswith("pip install")


def test_a_provider_without_what_it_needs_says_how_it_is_installed(
    alone: None, package, cache_dir: Path
) -> None:
    body = (
        'needs = ("sails_of_tin",)\n    install = "pip install tin-sails"\n    def load(self): ...'
    )
    package("tin-models", "Timm = tin_models:Mine", "tin_models", PROVIDER.format(body=body))
    with pytest.raises(PackageMissing) as caught:
        load_embedder(TIMM, cache_dir)
    assert str(caught.value) == (
        "provider Timm of the package 'tin-models' needs the Python package 'sails_of_tin', which "
        "is not installed: pip install tin-sails"
    )


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import sails_of_tin", "'sails_of_tin', which is not installed: pip install --upgrade"),
        ("from json import nothing", "cannot be imported (cannot import name 'nothing'"),
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("class Mine: ...", "broken:Mine is a Mine, not a ModelProvider"),
        ("", "cannot be imported: AttributeError"),
        (PROVIDER.format(body="x = 1"), "cannot be imported: TypeError"),
    ],
)
def test_an_entry_point_that_is_broken_names_provider_and_package(
    code: str, told: str, alone: None, package, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    package("broken-models", "Timm = broken:Mine", "broken", code)
    for use in (check_model, lambda spec: load_embedder(spec, cache_dir)):
        with pytest.raises(ModelError) as caught:
            use(TIMM)
        assert str(caught.value).startswith("provider Timm of the package 'broken-models'")
        assert told in str(caught.value)


def test_a_stranger_s_exception_is_told_with_its_name(
    alone: None, package, cache_dir: Path
) -> None:
    body = (
        "def check(self, spec): raise KeyError('colour')\n"
        "    def load(self, spec, cache_dir, *, random_weights): raise RuntimeError('no\\n luck')"
    )
    package("odd-models", "Timm = odd_models:Mine", "odd_models", PROVIDER.format(body=body))
    with pytest.raises(ModelError, match=r"'odd-models' cannot check .*KeyError: 'colour'"):
        check_model(TIMM)
    with pytest.raises(ModelError, match=r"'odd-models' cannot load .*RuntimeError: no luck"):
        load_embedder(TIMM, cache_dir)


def test_a_name_that_two_packages_claim_is_nobody_s(package) -> None:
    package("other-timm", "Timm = other_timm:Mine", "other_timm", "")
    with pytest.raises(ModelError, match="by the packages 'lookalike' and 'other-timm': remove"):
        provider_of(TIMM)


def test_a_provider_that_nobody_registers_is_told(alone: None, package) -> None:
    package("shop-models", "Shop = shop_models:Mine", "shop_models", "")
    with pytest.raises(ModelError, match=r"provider Timm is registered by no .* one of Shop, or"):
        provider_of(TIMM)
