"""`/docs`: the description of the API as a page, whose files all come from this service."""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles

from lookalike_serving.gateway.browsers import policy_of_description

_FILES = "/docs-assets"


def add_description(app: FastAPI) -> None:
    """Serve Swagger's page, whose files come with a package: there may be no network."""
    static = Path(fastapi_offline.__file__).parent / "static"
    app.mount(_FILES, StaticFiles(directory=static), name="docs-assets")
    page = bytes(
        get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=f"{app.title} – API",
            swagger_js_url=f"{_FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{_FILES}/swagger-ui.css",
            swagger_favicon_url="/favicon.ico",
        ).body
    )
    headers = {
        "Content-Security-Policy": policy_of_description(page),
        "Referrer-Policy": "no-referrer",
    }

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(page, headers=headers, media_type="text/html; charset=utf-8")
