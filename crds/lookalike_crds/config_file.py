"""The configuration of pods as text, for images of other versions than the operator's.

Fields are only added to a configuration of one `version`, and never get another default. What is
at its default is left out of the text. So an older image reads what a newer operator writes, unless
a resource uses something that this image does not have: then it refuses the text, and names the
field. A newer image finds the defaults of what an older operator does not write.
"""

from __future__ import annotations

import json
from importlib.metadata import version

from pydantic import ValidationError

from lookalike_crds.base import without_defaults
from lookalike_crds.config import IngestionConfig, ServingConfig


def text_of(config: ServingConfig | IngestionConfig) -> str:
    """Readable, and the same bytes for the same configuration."""
    document = {"version": config.version, **without_defaults(config)}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def what_is_wrong(failure: ValidationError) -> str:
    """In one line: the place, and the remedy for a text of another version."""
    first = failure.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return (
            f"{where}: Lookalike {version('lookalike')}, which reads this configuration, does not "
            "know this field: use an image of the version that wrote it, or do not use what the "
            "field is for"
        )
    return f"{where}: {first['msg']}"
