"""Amounts as Kubernetes writes them: `500m`, `2Gi`, `1e3`."""

from __future__ import annotations

import re

AMOUNT = r"^[0-9]+(\.[0-9]*)?(m|u|n|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|[eE][+-]?[0-9]+)?$"


def is_amount(text: str) -> bool:
    return re.match(AMOUNT, text) is not None
