"""What a filter means: one room from a request's JSON to an engine's conditions.

    JSON -> parse.py -> tree of predicates (tree.py) -> compiled.py -> conditions of an engine

`parse.py` reads every filter that comes from outside and refuses what has no meaning. What it
yields is typed: And, Or and Not over predicates whose values are checked, so that nothing is
checked again. Each operator is one entry of a table (operators.py) and one predicate, which says
how it is read, what its values look like in the API's description, which payload indexes serve it
and what it means in terms of `conditions.py`, the comparisons that all of Qdrant's engines have.
An engine (`index/edge_filters.py`, `index/qdrant_filters.py`) only makes these conditions, so that
engines cannot disagree about a filter.

The rules:

- A key that holds a list matches if any of its elements does.
- Types are strict: `1`, `"1"` and `true` are three values; `1` and `1.0` are one.
- `ne`, `nin` and NOT are exact negations, so they hold for documents that lack the key.
- gt, gte, lt and lte take numbers or datetimes (moments.py). All bounds of one key within an AND
  are one range: of a list one element must meet them all. Integer fields compare exactly; other
  numbers as 64-bit floats to about 15 digits (floats.py). Equality of integers is exact.
- geo_box and geo_radius include their edges. A box with its left east of its right crosses the
  antimeridian; -180 and 180 are two longitudes.
- `eq` and `in` compare datetimes as points in time if the field is declared Datetime, and as
  text otherwise.
- `contains`: substring of a text, or member of a list. Case counts, as for starts_with.
- `text`: every word occurs, in any order; case does not count.
- `exists`: the key holds something other than null and the empty list. `is_null`: it is null, or
  a list that holds a null.
"""
