"""What a model needs is compared with the memory that is free, before it is loaded."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_serving.embed import room
from lookalike_serving.embed.protocol import ModelError
from lookalike_serving.embed.room import check_room, weights_bytes

PLUGIN = """
class Model:
    def __init__(self, weights): pass
    def embed_images(self, images): return images.reshape(len(images), -1)
"""


@pytest.fixture
def model(tmp_path: Path) -> ModelSpec:
    """Of a million bytes."""
    (tmp_path / "model.py").write_text(PLUGIN)
    (tmp_path / "weights").write_bytes(bytes(1_000_000))
    name, weights = f"{tmp_path}/model.py:Model", str(tmp_path / "weights")
    return ModelSpec(provider=Provider.PLUGIN, name=name, weights=weights)


@pytest.mark.parametrize(
    ("free", "beside", "refused", "warned"),
    [
        (2_000_000, True, False, False),
        (1_999_999, True, False, True),
        (999_999, False, False, True),
        (999_999, True, True, False),
        (None, True, False, False),
    ],
)
def test_a_model_that_cannot_fit_beside_another_is_refused_and_one_that_may_not_is_told(
    model: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    free: int | None,
    *,
    beside: bool,
    refused: bool,
    warned: bool,
) -> None:
    monkeypatch.setattr(room, "free_memory", lambda: free)
    monkeypatch.setattr(logging.getLogger("lookalike"), "propagate", True)
    told = "needs about 2 MB of memory while it is loaded and 1 MB afterwards, and . MB are free"
    if refused:
        with pytest.raises(ModelError, match=told):
            check_room(model, Path("weights"), beside=beside)
    else:
        check_room(model, Path("weights"), beside=beside)
    assert warned == ("serving.resources" in caplog.text)


def test_the_files_of_a_model_say_what_it_takes(tiny_weights: Path, tmp_path: Path) -> None:
    tiny = ModelSpec(provider=Provider.OPEN_CLIP, name="tiny", weights=str(tiny_weights))
    told = weights_bytes(tiny, tmp_path)
    assert told is not None
    assert told >= tiny_weights.stat().st_size
    unknown = ModelSpec(provider=Provider.PLUGIN, name="nobody")
    assert weights_bytes(unknown, tmp_path) is None
