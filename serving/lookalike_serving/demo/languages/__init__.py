"""The languages of the demo model: what a person says of a product of the catalogue, in each.

`bench/train_demo_languages.py` trains words of these sentences, and `bench/quality.py` measures how
well they find products. A server needs none of it: the words are in the model's configuration.
"""

from __future__ import annotations

from lookalike_serving.demo.languages.english import ENGLISH
from lookalike_serving.demo.languages.french import FRENCH
from lookalike_serving.demo.languages.german import GERMAN
from lookalike_serving.demo.languages.japanese import JAPANESE
from lookalike_serving.demo.languages.spanish import SPANISH
from lookalike_serving.demo.said import Language, Said

LANGUAGES: tuple[Language, ...] = (ENGLISH, GERMAN, SPANISH, FRENCH, JAPANESE)

__all__ = ["LANGUAGES", "Language", "Said"]
