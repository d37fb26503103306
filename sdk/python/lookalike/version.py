"""The version, from the installed distribution: one place says it, `pyproject.toml`."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("lookalike")
except PackageNotFoundError:  # a source tree on sys.path
    __version__ = "0+unknown"
