"""Provider Plugin: a user's own Python class, from an entry point or a file.

`spec.model.name` is the name of an entry point in the group `lookalike.embedders`, or a file and a
class in it, such as `/plugins/colours.py:Colours`. The class has these members (see
docs/plugins.md):

    size                   side of the square pictures it is given, in pixels; 224 if unset
    fit                    `crop` (the middle; if unset) or `squash`
    __init__(weights)      `spec.model.weights`, or None
    embed_images(images)   (n, size, size, 3) uint8 RGB -> (n, d) numbers
    embed_texts(texts)     list of n str -> (n, d) numbers; may be left out
    left_out(text)         the end of a text that embed_texts does not read; may be left out

Vectors are normalised here. Exceptions of the class are reported with the name of the plugin, and
do not end the process. An entry point may also be a `ModelProvider`, which does all of it itself.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from lookalike_crds.image_collection import Distance, ModelSpec, Precision, Provider
from lookalike_serving.embed.protocol import (
    Box,
    Embedder,
    EmbedderInfo,
    ModelError,
    ModelUnavailable,
    PackageMissing,
    Pixels,
    Tensor,
    Vectors,
    WeightsNotFound,
)
from lookalike_serving.embed.provider import ModelProvider, failed_import

_SIZE = 224
_SIZES = range(1, 4097)
_FITS = {"crop": "shortest", "squash": "squash"}

log = logging.getLogger("lookalike.models")


class Plugin(ModelProvider):
    def check(self, spec: ModelSpec) -> None:
        name = spec.name or ""
        if (place := _file_and_class(name)) is None:
            _entry_point(name)
        else:
            _check_source(name, *place)
        if spec.weights and "://" not in spec.weights and not Path(spec.weights).exists():
            raise WeightsNotFound(
                f"weights of the plugin {name!r}: there is no {spec.weights}; correct "
                "spec.model.weights"
            )

    def load(self, spec: ModelSpec, cache_dir: Path, *, random_weights: bool) -> Embedder:
        self.check(spec)
        name = spec.name or ""
        kind, content = _loaded(name)
        if isinstance(kind, type) and issubclass(kind, ModelProvider):
            provider = _guarded(name, "cannot be created", kind)
            return _guarded(  # type: ignore[no-any-return]
                name,
                "cannot load",
                lambda: provider.load(spec, cache_dir, random_weights=random_weights),
            )
        model = _guarded(name, "cannot be created", lambda: kind(spec.weights))
        return PluginEmbedder(spec, model, f"{content} {_weights_hash(spec.weights, cache_dir)}")


class PluginEmbedder:
    """The object of a plugin behind the `Embedder` protocol."""

    def __init__(self, spec: ModelSpec, model: Any, content: str) -> None:
        """Embeds a black picture to find out the dimension."""
        from lookalike_serving.embed.fingerprint import fingerprint
        from lookalike_serving.embed.preprocess import Preprocessing

        self._name = name = spec.name or ""
        size, fit = getattr(model, "size", _SIZE), getattr(model, "fit", "crop")
        if not isinstance(size, int) or size not in _SIZES:
            raise ModelError(f"plugin {name!r}: size is {size!r}: set it to 1 to 4096 pixels")
        if fit not in _FITS:
            raise ModelError(f"plugin {name!r}: fit is {fit!r}: set it to crop or squash")
        if not callable(getattr(model, "embed_images", None)):
            raise ModelError(f"plugin {name!r} has no method embed_images: add it")
        self._images: Callable[[Any], Any] = model.embed_images
        self._texts: Callable[[Any], Any] | None = getattr(model, "embed_texts", None)
        self._left_out: Callable[[str], Any] | None = getattr(model, "left_out", None)
        self.preprocessing = Preprocessing(
            height=size,
            width=size,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            resize_mode="squash" if fit == "squash" else "shortest",
        )
        self._dimension: int | None = None
        black = np.zeros((3, size, size), np.uint8)
        self._dimension = int(self.embed_pixels([black, black]).shape[1])
        texts = self._texts is not None
        self._info = EmbedderInfo(
            provider=Provider.PLUGIN,
            name=name,
            weights=spec.weights,
            fingerprint=fingerprint(Provider.PLUGIN, name, content, self.preprocessing),
            dimension=self._dimension,
            image_size=size,
            min_side=self.preprocessing.min_side,
            device="cpu",
            precision=Precision.FP32,
            distance_hint=Distance.COSINE,
            logit_scale=None,
            supports_text=texts,
            ability=f"is a plugin; knows {'words as its author says' if texts else 'no words'}",
        )
        if texts:
            self.embed_texts(["warm"])

    @property
    def info(self) -> EmbedderInfo:
        return self._info

    def preprocess(self, image: Pixels, box: Box | None = None) -> Tensor:
        return self.preprocessing(image, box)

    def embed_pixels(self, batch: Sequence[Tensor]) -> Vectors:
        if not batch:
            return np.zeros((0, self._dimension or 0), np.float32)
        images = np.ascontiguousarray(np.stack(batch).transpose(0, 2, 3, 1))
        return self._vectors("embed_images", self._images, images, len(batch))

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        if self._texts is None:
            raise ModelError(f"{self._name} knows no words: search with an image")
        if not texts:
            return np.zeros((0, self._dimension or 0), np.float32)
        return self._vectors("embed_texts", self._texts, list(texts), len(texts))

    def unknown_words(self, text: str) -> list[str]:
        return []

    def understands(self, text: str) -> bool:
        return True

    def left_out(self, text: str) -> str:
        """What the plugin's own `left_out` says; a plugin without one reads all of a text."""
        if self._left_out is None:
            return ""
        try:
            return str(self._left_out(text) or "")
        except (Exception, SystemExit) as error:
            log.error("plugin %r failed in left_out", self._name, exc_info=error)
            raise ModelUnavailable(
                f"plugin {self._name!r} failed in left_out: {_named(error)}"
            ) from error

    def _vectors(self, method: str, call: Callable[[Any], Any], given: Any, n: int) -> Vectors:
        """What the plugin gives, checked and normalised. Raises ModelUnavailable."""
        try:
            vectors = np.asarray(call(given), dtype=np.float32)
        except (Exception, SystemExit) as error:
            log.error("plugin %r failed in %s", self._name, method, exc_info=error)
            raise ModelUnavailable(
                f"plugin {self._name!r} failed in {method}: {_named(error)}"
            ) from error
        if vectors.ndim != 2 or len(vectors) != n or vectors.shape[1] < 1:
            raise ModelUnavailable(
                f"plugin {self._name!r}: {method} gave an array of shape {vectors.shape} for "
                f"{n}: it must be ({n}, d)"
            )
        if self._dimension is not None and vectors.shape[1] != self._dimension:
            raise ModelUnavailable(
                f"plugin {self._name!r}: {method} gave {vectors.shape[1]} numbers each, where "
                f"embed_images gave {self._dimension} at first: they must be as many"
            )
        if not np.isfinite(vectors).all():
            raise ModelUnavailable(
                f"plugin {self._name!r}: {method} gave numbers that are not finite"
            )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def _file_and_class(name: str) -> tuple[Path, str] | None:
    """The file and the class that a name says; None for the name of an entry point."""
    file, _, kind = name.rpartition(":")
    return (Path(file).expanduser(), kind) if file.endswith(".py") and kind else None


def _entry_point(name: str) -> Any:
    """The entry point that is registered under the name. Raises ModelError."""
    from lookalike_serving.embed.registry import OWN, registered

    strangers = {
        key: [each for each in entries if each.package != OWN]
        for key, entries in registered().items()
    }
    match strangers.get(name, []):
        case [one]:
            return one
        case []:
            known = [key for key, entries in strangers.items() if entries]
            raise ModelError(
                f"spec.model.name {name!r}: no installed package registers a plugin of that name "
                f"(known: {', '.join(known) or 'none'}): install it, or write a file and a class, "
                "such as /plugins/mine.py:Mine"
            )
        case several:
            packages = " and ".join(sorted(repr(each.package) for each in several))
            raise ModelError(
                f"spec.model.name {name!r} is registered by the packages {packages}: remove one"
            )


def _check_source(name: str, file: Path, kind: str) -> None:
    """Raises ModelError for a file without the class. The file is parsed, and not run."""
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except OSError as error:
        raise ModelError(
            f"plugin {name!r}: {file} cannot be read ({error.strerror}): correct spec.model.name, "
            "or mount the file"
        ) from None
    except (SyntaxError, ValueError) as error:
        raise ModelError(f"plugin {name!r}: {file} is not Python: {_one_line(error)}") from None
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    imported = any(isinstance(node, ast.Import | ast.ImportFrom | ast.Assign) for node in tree.body)
    if kind not in classes and not (imported and kind in file.read_text("utf-8", "replace")):
        raise ModelError(
            f"plugin {name!r}: {file} has no class {kind}; it has {', '.join(classes) or 'none'}"
        )


def _loaded(name: str) -> tuple[Any, str]:
    """The class, and a text that identifies its code: other code makes other vectors."""
    place = _file_and_class(name)
    if place is None:
        one = _entry_point(name)
        version = one.entry.dist.version if one.entry.dist is not None else ""
        kind = _guarded(name, "cannot be imported", one.entry.load)
        return kind, str(getattr(kind, "version", f"{one.package} {version}"))
    file, attribute = place
    source = hashlib.sha256(file.read_bytes()).hexdigest()
    module_name = f"lookalike_plugin_{source[:16]}"

    def run() -> Any:
        found = importlib.util.spec_from_file_location(module_name, file)
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        sys.modules[module_name] = module
        try:
            found.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
        return getattr(module, attribute)

    kind = _guarded(name, "cannot be imported", run)
    return kind, str(getattr(kind, "version", source))


def _weights_hash(said: str | None, cache_dir: Path) -> str:
    from lookalike_serving.embed.weights import content_hash

    if not said or "://" in said:
        return said or ""
    place = Path(said)
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(place)} {content_hash(file, cache_dir)}\n".encode())
    return digest.hexdigest()


def _guarded(name: str, what: str, call: Callable[[], Any]) -> Any:
    """The result of `call`. Raises ModelError with the plugin's name for any exception."""
    try:
        return call()
    except ModelError:
        raise
    except (Exception, SystemExit) as error:
        _refuse(name, what, error)


def _refuse(name: str, what: str, error: BaseException) -> NoReturn:
    missing = failed_import(error)
    if isinstance(missing, ModuleNotFoundError) and missing.name:
        raise PackageMissing(
            f"plugin {name!r} needs the Python package {missing.name.split('.')[0]!r}, which is "
            "not installed: install it beside Lookalike, or in the serving image"
        ) from error
    log.error("plugin %r %s", name, what, exc_info=error)
    raise ModelError(f"plugin {name!r} {what}: {_named(error)}") from error


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {_one_line(error)}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
