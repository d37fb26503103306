"""geo_radius, geo_box: places on the map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from lookalike_crds.image_collection import FieldType
from lookalike_serving.index.filters.conditions import C, Conditions
from lookalike_serving.index.filters.tree import Predicate
from lookalike_serving.index.filters.values import Shape, WrongFilter, is_number, shown

_EARTH_RADIUS_M = 6_371_000
_HALF_AROUND_M = 20_100_000
"""No two places are farther apart."""
_MARGIN, _MARGIN_METRES, _MARGIN_DEGREES = 1.001, 1.0, 1e-3
"""What an index is asked for beyond a circle or a box; the edge itself is compared exactly."""
_BEFORE_POLE, _BEFORE_ANTIMERIDIAN = 89.9, 179.9

_PLACE: Shape = {
    "type": "object",
    "additionalProperties": False,
    "required": ["lat", "lon"],
    "properties": {
        "lat": {"type": "number", "minimum": -90, "maximum": 90},
        "lon": {"type": "number", "minimum": -180, "maximum": 180},
    },
}
CIRCLE: Shape = {
    **_PLACE,
    "required": ["lat", "lon", "radius_m"],
    "properties": {
        **_PLACE["properties"],
        "radius_m": {"type": "number", "exclusiveMinimum": 0, "maximum": _HALF_AROUND_M},
    },
}
BOX: Shape = {
    "type": "object",
    "additionalProperties": False,
    "required": ["top_left", "bottom_right"],
    "properties": {"top_left": _PLACE, "bottom_right": _PLACE},
}


@dataclass(frozen=True, slots=True)
class InCircle(Predicate):
    served_by: ClassVar = frozenset({FieldType.GEO})

    lat: float
    lon: float
    radius_m: float

    def written(self) -> tuple[str, Any]:
        return "geo_radius", {"lat": self.lat, "lon": self.lon, "radius_m": self.radius_m}

    def compiled(self, on: Conditions[C], field_type: FieldType | None) -> C:
        # Engines leave the edge itself out.
        beyond = math.nextafter(self.radius_m, math.inf)
        exact = on.in_circle(self.path, self.lat, self.lon, beyond)
        if field_type is not FieldType.GEO:
            return exact
        # A geo index looks up cells of the map, and misses some at a pole and in tiny circles.
        # What is doubly negated is compared with each document instead.
        compared = on.none_of([on.none_of([exact])])
        reach = math.degrees(self.radius_m * _MARGIN / _EARTH_RADIUS_M) + _MARGIN_DEGREES
        if abs(self.lat) + reach > _BEFORE_POLE:
            return compared
        wider = self.radius_m * _MARGIN + _MARGIN_METRES
        return on.all_of([on.in_circle(self.path, self.lat, self.lon, wider), compared])


@dataclass(frozen=True, slots=True)
class InBox(Predicate):
    served_by: ClassVar = frozenset({FieldType.GEO})

    top: float
    left: float
    bottom: float
    right: float

    def written(self) -> tuple[str, Any]:
        top_left = {"lat": self.top, "lon": self.left}
        return "geo_box", {
            "top_left": top_left,
            "bottom_right": {"lat": self.bottom, "lon": self.right},
        }

    def compiled(self, on: Conditions[C], field_type: FieldType | None) -> C:
        # One object, or one of a list of them. Engines' own boxes leave their edges out.
        exact = on.any_of(
            [self._inside(on, f"{self.path}."), on.within(self.path, self._inside(on, ""))]
        )
        near_a_pole = max(abs(self.top), abs(self.bottom)) > _BEFORE_POLE
        near_antimeridian = max(abs(self.left), abs(self.right)) > _BEFORE_ANTIMERIDIAN
        if field_type is not FieldType.GEO or near_a_pole or near_antimeridian:
            return exact
        more = _MARGIN_DEGREES
        wider = (self.top + more, self.left - more, self.bottom - more, self.right + more)
        return on.all_of([on.in_box(self.path, *wider), exact])

    def _inside(self, on: Conditions[C], prefix: str) -> C:
        """What the object at `prefix` meets."""
        lat = on.between(f"{prefix}lat", {"gte": self.bottom, "lte": self.top})
        east_of_left = on.between(f"{prefix}lon", {"gte": self.left})
        west_of_right = on.between(f"{prefix}lon", {"lte": self.right})
        if self.left <= self.right:
            lon = on.between(f"{prefix}lon", {"gte": self.left, "lte": self.right})
        else:
            lon = on.any_of([east_of_left, west_of_right])
        return on.all_of([lat, lon])


def read_circle(key: str, value: Any) -> InCircle:
    """Raises WrongFilter."""
    if isinstance(value, dict) and value.keys() == {"lat", "lon", "radius_m"}:
        lat, lon, radius = value["lat"], value["lon"], value["radius_m"]
        if _is_place({"lat": lat, "lon": lon}) and is_number(radius):
            if 0 < radius <= _HALF_AROUND_M:
                return InCircle(key, float(lat), float(lon), float(radius))
            raise WrongFilter(
                f"geo_radius takes a radius_m above 0 and up to {_HALF_AROUND_M} metres, "
                f"not {shown(radius)}"
            )
    raise WrongFilter(
        'geo_radius takes {"lat": -90..90, "lon": -180..180, "radius_m": metres}, '
        f"not {shown(value)}"
    )


def read_box(key: str, value: Any) -> InBox:
    """Raises WrongFilter."""
    if isinstance(value, dict) and value.keys() == {"top_left", "bottom_right"}:
        top_left, bottom_right = value["top_left"], value["bottom_right"]
        if _is_place(top_left) and _is_place(bottom_right):
            top, bottom = float(top_left["lat"]), float(bottom_right["lat"])
            if top < bottom:
                raise WrongFilter(
                    f"geo_box has its top_left (lat {shown(top_left['lat'])}) south of its "
                    f"bottom_right (lat {shown(bottom_right['lat'])}): swap their lat"
                )
            return InBox(key, top, float(top_left["lon"]), bottom, float(bottom_right["lon"]))
    raise WrongFilter(
        'geo_box takes {"top_left": {"lat", "lon"}, "bottom_right": {"lat", "lon"}}, '
        f"not {shown(value)}"
    )


def _is_place(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"lat", "lon"}
        and all(is_number(each) for each in value.values())
        and abs(value["lat"]) <= 90
        and abs(value["lon"]) <= 180
    )
