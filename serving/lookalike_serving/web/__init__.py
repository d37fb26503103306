"""The search page at `/`: plain HTML, CSS and ES modules, shipped in the package, no build step."""

from lookalike_serving.web.routes import router

__all__ = ["router"]
