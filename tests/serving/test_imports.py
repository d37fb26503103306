"""What the process that starts Ray loads, beside the replica that has the model."""

from __future__ import annotations

import subprocess
import sys


def test_the_application_is_described_without_the_libraries_of_models() -> None:
    """They take 250 MB, of which one process of a pod has a use."""
    heavy = ("torch", "open_clip", "torchvision", "pyarrow", "pandas", "qdrant_client")
    program = (
        "import sys, lookalike_serving.app, lookalike_serving.local.server\n"
        f"print(*(name for name in {heavy} if name in sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []
