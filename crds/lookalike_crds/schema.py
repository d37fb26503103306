"""pydantic models -> structural OpenAPI schemas, as the API server accepts them.

A structural schema has no references, no unions and no nulls, so: references are written out, an
optional value loses its null, one of several object types becomes one object with all their
fields and a rule for each, a value that is a number or a fixed word has bounds instead of a type,
and a value of several other scalar types is left open. Nested defaults are written out in full,
since the API server checks rules on a default before it fills it. A field of no type is invisible
to rules: that it is required is checked in Python alone.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from lookalike_crds.rules import IMMUTABLE, RULES
from lookalike_crds.unbuilt import NEXT_VERSION, UNBUILT

Schema = dict[str, Any]

_KEPT = (
    "type format enum minimum maximum minLength maxLength pattern minItems maxItems minProperties "
    "maxProperties required"
).split()
_LIST_KEYS = {"sources": "name", "fields": "name", "collections": "name", "conditions": "type"}
"""Lists whose items have a unique key: the API server refuses doubles and merges by it."""


def structural_schema(model: type[BaseModel]) -> Schema:
    """The schema of one model, with its rules, ready for a CRD."""
    whole = model.model_json_schema(by_alias=True)
    definitions: Schema = whole.pop("$defs", {})
    return _Converter(definitions).object(whole, model.__name__)


class _Converter:
    def __init__(self, definitions: Schema) -> None:
        self._definitions = definitions

    def object(self, schema: Schema, name: str) -> Schema:
        """An object schema with the rules of the type called `name`."""
        result: Schema = {"type": "object"}
        if text := schema.get("description"):
            result["description"] = _one_line(text)
        required = list(schema.get("required", ()))
        if required:
            result["required"] = required
        result["properties"] = {
            key: self.value(value, key) for key, value in schema["properties"].items()
        }
        for row in UNBUILT:
            if row.on.__name__ == name:
                field = result["properties"][row.on.model_fields[row.field].alias or row.field]
                field["description"] += f" Comes with version {NEXT_VERSION}; refused until then."
        for each in IMMUTABLE:
            if each.on.__name__ == name:
                alias = each.on.model_fields[each.field].alias or each.field
                result["properties"][alias]["x-kubernetes-validations"] = [
                    {"rule": each.cel, "message": each.message}
                ]
        rules = [
            {"rule": rule.cel, "message": rule.message}
            for rule in RULES
            if rule.on.__name__ == name and rule.cel is not None
        ]
        if rules:
            result["x-kubernetes-validations"] = rules
        return result

    def value(self, schema: Schema, key: str = "") -> Schema:
        description = schema.get("description")
        default = schema.get("default")
        result = self._bare(schema, key)
        if description:
            result["description"] = _one_line(description)
        if default is not None and default not in ([], {}):
            result["default"] = _filled(result) if isinstance(default, dict) else default
        return dict(sorted(result.items(), key=_order))

    def _bare(self, schema: Schema, key: str) -> Schema:
        if "$ref" in schema:
            return self._reference(schema["$ref"])
        options = schema.get("anyOf") or schema.get("oneOf")
        if options:
            options = [o for o in options if o.get("type") != "null"]
            if len(options) == 1:
                return self._bare(options[0], key)
            if all("$ref" in o for o in options):
                return self._union([self._reference(o["$ref"]) for o in options])
            return {"x-kubernetes-preserve-unknown-fields": True, **_number_or_word(options)}
        result: Schema = {k: schema[k] for k in _KEPT if k in schema}
        if "const" in schema:
            result["type"] = "string"
            result["enum"] = [schema["const"]]
        for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if bound in schema:
                result[limit] = schema[bound]
                result[bound] = True
        if schema.get("type") == "array":
            result["items"] = self.value(schema["items"])
            if key in _LIST_KEYS:
                result["x-kubernetes-list-type"] = "map"
                result["x-kubernetes-list-map-keys"] = [_LIST_KEYS[key]]
            else:
                result["x-kubernetes-list-type"] = "atomic"
        elif schema.get("type") == "object":
            inner = schema.get("additionalProperties")
            if isinstance(inner, dict):
                result["additionalProperties"] = self.value(inner)
            else:
                result["x-kubernetes-preserve-unknown-fields"] = True
        return result

    def _reference(self, reference: str) -> Schema:
        name = reference.rsplit("/", 1)[1]
        schema = self._definitions[name]
        if "properties" in schema:
            return self.object(schema, name)
        return self.value({k: v for k, v in schema.items() if k != "description"})

    @staticmethod
    def _union(variants: list[Schema]) -> Schema:
        """One object for several that differ by their `type`.

        Raises TypeError if two of them give a field of one name different types or bounds: the
        merged object can hold only one.
        """
        properties: Schema = {}
        owners: dict[str, list[str]] = {}
        names: list[str] = []
        told: list[str] = []
        rules: list[Schema] = []
        for variant in variants:
            own = dict(variant["properties"])
            name = own.pop("type")["enum"][0]
            names.append(name)
            told.append(f"{name}: {_lowered(variant['description'])}")
            needed = [r for r in variant.get("required", ()) if r != "type" and "type" in own[r]]
            if needed:
                present = " && ".join(f"has(self.{field})" for field in needed)
                rules.append(
                    {
                        "rule": f"self.type != '{name}' || ({present})",
                        "message": f"type {name} needs {', '.join(needed)}",
                    }
                )
            for field, schema in own.items():
                # A default would appear in the other variants, too.
                shape = {k: v for k, v in schema.items() if k not in ("default", "description")}
                earlier = properties.get(field, {})
                if earlier and shape != {k: v for k, v in earlier.items() if k != "description"}:
                    raise TypeError(
                        f"{owners[field][0]} and {name} have a field {field!r} with different "
                        "types or bounds: name one of them differently, or give both the same"
                    )
                owners.setdefault(field, []).append(name)
                meaning = f"{name}: {_lowered(schema['description'])}"
                both = " ".join(filter(None, [earlier.get("description"), meaning]))
                properties[field] = {"description": both, **shape}
        for field, whose in owners.items():
            if len(whose) < len(names) and "type" in properties[field]:
                listed = ", ".join(f"'{name}'" for name in whose)
                rules.append(
                    {
                        "rule": f"!has(self.{field}) || self.type in [{listed}]",
                        "message": f"{field} is for type {' and '.join(whose)}: remove it",
                    }
                )
        properties = {
            field: dict(sorted(schema.items(), key=_order)) for field, schema in properties.items()
        }
        return {
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": {"description": " ".join(told), "type": "string", "enum": names},
                **properties,
            },
            **({"x-kubernetes-validations": rules} if rules else {}),
        }


def _number_or_word(options: list[Schema]) -> Schema:
    """What refuses everything but a number and fixed words; empty if the options are others.

    Such a value has no type. `x-kubernetes-int-or-string` would refuse 0.5.
    """
    words = [option["const"] for option in options if "const" in option]
    if len(words) != len(options) - 1 or all(o.get("type") != "number" for o in options):
        return {}
    return {
        "pattern": f"^({'|'.join(words)})$",  # holds for whatever is no text
        "not": {"enum": [True, False, [], {}]},
        "maxItems": 0,
        "maxProperties": 0,
    }


def _lowered(text: str) -> str:
    """As it stands after a colon."""
    return text[:1].lower() + text[1:]


def _filled(schema: Schema) -> Schema:
    """What an empty object becomes once every default below it is filled in."""
    return {
        key: value["default"]
        for key, value in schema.get("properties", {}).items()
        if "default" in value
    }


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _order(item: tuple[str, Any]) -> tuple[int, str]:
    first = ["description", "type", "default", "enum", "required", "properties", "items"]
    return (first.index(item[0]) if item[0] in first else len(first), item[0])
