"""The cut-off of a search: a number, or `auto` for the one that was found by calibration."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

AUTO: Literal["auto"] = "auto"


def _checked(value: Any) -> Any:
    # Not left to pydantic: it takes true for 1 and "0.5" for 0.5, which a CRD does not.
    number = type(value) in (int, float) and math.isfinite(value)
    if value is None or value == AUTO or number:
        return value
    raise PydanticCustomError(
        "min_score",
        "write a number, or auto for the threshold that `lookalike calibrate --save` finds",
    )


MinScore = Annotated[float | Literal["auto"], BeforeValidator(_checked)]
