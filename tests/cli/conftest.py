import sys
from pathlib import Path

# The scripted server of the client's tests serves the commands' tests, too.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "sdk")]

import pytest  # noqa: E402
from command import Command  # noqa: E402


@pytest.fixture
def lookalike(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """The command, in an empty folder and without what the environment may say."""
    monkeypatch.chdir(tmp_path)
    for name in ("URL", "API_KEY", "DATA_DIR", "DEBUG"):
        monkeypatch.delenv(f"LOOKALIKE_{name}", raising=False)
    return Command(monkeypatch, capsys)
