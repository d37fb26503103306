"""German: three genders, and adjectives whose endings follow article, case and gender."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lookalike_serving.demo.said import Language, Said, joined, pick


@dataclass(frozen=True, slots=True)
class _Noun:
    gender: str
    """m, f or n."""
    one: str
    many: str


def _nouns(text: str) -> tuple[_Noun, ...]:
    """`f Tasse Tassen, m Becher Becher`"""
    return tuple(_Noun(*each.split()) for each in text.split(", "))


_KINDS = {
    "mug": _nouns("f Tasse Tassen, m Becher Becher, f Kaffeetasse Kaffeetassen"),
    "shirt": _nouns("n Hemd Hemden, n T-Shirt T-Shirts, n Shirt Shirts"),
    "shoe": _nouns("m Schuh Schuhe, m Turnschuh Turnschuhe, m Sneaker Sneaker"),
    "bag": _nouns("f Tasche Taschen, f Handtasche Handtaschen, f Tragetasche Tragetaschen"),
    "chair": _nouns("m Stuhl Stühle, m Sitz Sitze"),
    "lamp": _nouns("f Lampe Lampen, f Leuchte Leuchten, f Tischlampe Tischlampen"),
    "hat": _nouns("m Hut Hüte, m Sonnenhut Sonnenhüte"),
    "bottle": _nouns("f Flasche Flaschen, f Trinkflasche Trinkflaschen"),
    "vase": _nouns("f Vase Vasen, f Blumenvase Blumenvasen, f Urne Urnen"),
    "plate": _nouns("m Teller Teller, m Essteller Essteller"),
    "cushion": _nouns("n Kissen Kissen, n Sofakissen Sofakissen, n Kopfkissen Kopfkissen"),
    "umbrella": _nouns("m Regenschirm Regenschirme, m Schirm Schirme, m Parasol Parasols"),
    "backpack": _nouns("m Rucksack Rucksäcke, m Schulrucksack Schulrucksäcke"),
    "watch": _nouns("f Uhr Uhren, f Armbanduhr Armbanduhren"),
    "sock": _nouns("f Socke Socken, m Strumpf Strümpfe"),
    "dress": _nouns("n Kleid Kleider, n Abendkleid Abendkleider"),
    "trousers": _nouns("f Hose Hosen, f Stoffhose Stoffhosen"),
    "skirt": _nouns("m Rock Röcke, m Damenrock Damenröcke"),
    "sofa": _nouns("n Sofa Sofas, f Couch Couchs"),
    "table": _nouns("m Tisch Tische, m Schreibtisch Schreibtische, m Esstisch Esstische"),
    "book": _nouns("n Buch Bücher, n Notizbuch Notizbücher"),
    "kettle": _nouns("f Teekanne Teekannen, m Wasserkocher Wasserkocher, m Kessel Kessel"),
    "planter": _nouns("m Blumentopf Blumentöpfe, m Pflanzkübel Pflanzkübel, m Übertopf Übertöpfe"),
    "tie": _nouns("f Krawatte Krawatten, m Schlips Schlipse"),
}  # fmt: skip
# A word that ends in "=" takes no ending.
_COLOURS = {
    "red": ("rot", "knallrot", "scharlachrot", "karminrot"),
    "orange": ("orange", "orangefarben", "orangerot"),
    "yellow": ("gelb", "zitronengelb", "golden"),
    "green": ("grün", "smaragdgrün", "grasgrün"),
    "teal": ("türkis", "türkisfarben", "petrolfarben", "blaugrün"),
    "blue": ("blau", "kobaltblau", "königsblau"),
    "purple": ("violett", "lila=", "purpurn"),
    "pink": ("rosa=", "pink=", "rosafarben", "pinkfarben"),
    "brown": ("braun", "schokoladenbraun"),
    "black": ("schwarz", "tiefschwarz"),
    "white": ("weiß", "schneeweiß", "elfenbeinfarben"),
    "grey": ("grau", "silbern", "silbergrau"),
}
_PATTERNS = {
    "plain": ("einfarbig", "ungemustert", "unifarben"),
    "striped": ("gestreift",),
    "dotted": ("gepunktet", "getupft"),
    "checked": ("kariert",),
    "zigzag": ("gezackt",),
    "floral": ("geblümt", "blumig"),
    "starry": ("gestirnt", "besternt"),
    "wavy": ("gewellt", "wellig"),
    "diamond": ("gerautet", "rautenförmig"),
    "speckled": ("gesprenkelt", "meliert"),
}
_WITH = {
    "plain": ("ohne Muster",),
    "striped": ("mit Streifen", "mit Streifenmuster", "im Streifenmuster"),
    "dotted": ("mit Punkten", "mit Punktmuster", "mit Tupfen", "mit Polka-Dots"),
    "checked": ("mit Karos", "mit Karomuster", "mit Schachbrettmuster"),
    "zigzag": ("mit Zickzackmuster", "mit Zickzack", "im Zickzackmuster", "mit Zacken"),
    "floral": ("mit Blumen", "mit Blumenmuster", "mit Blüten"),
    "starry": ("mit Sternen", "mit Sternenmuster", "mit Sternchen"),
    "wavy": ("mit Wellen", "mit Wellenmuster", "im Wellenmuster"),
    "diamond": ("mit Rauten", "mit Rautenmuster", "mit Argyle-Muster"),
    "speckled": ("mit Sprenkeln", "mit Sprenkelmuster", "mit Tüpfchen"),
}
# Whose adjective is seldom used: the plain form says it with a noun.
_USUALLY_WITH = frozenset({"zigzag", "starry", "wavy", "diamond"})

_ENDINGS = ("e", "er", "es", "en", "em")
# (words before, article, case): the article decides the ending of the adjectives.
_LEADS = (
    ("", "none", "nom"),
    ("", "none", "nom"),
    ("", "ein", "nom"),
    ("", "der", "nom"),
    ("ich suche", "ein", "acc"),
    ("ich möchte", "ein", "acc"),
    ("zeig mir", "ein", "acc"),
    ("zeige mir bitte", "der", "acc"),
    ("finde", "ein", "acc"),
    ("Bild von", "ein", "dat"),
    ("ein Foto von", "ein", "dat"),
    ("Foto mit", "ein", "dat"),
    ("Foto mit", "none", "dat"),
    ("ähnlich wie", "der", "nom"),
)  # fmt: skip
_TAILS = ("bitte", "zum Verkauf", "auf einem Bild", "im Studio", "zu kaufen", "", "", "", "", "")
_ARTICLES = {
    "ein": {
        "nom": {"m": "ein", "f": "eine", "n": "ein"},
        "acc": {"m": "einen", "f": "eine", "n": "ein"},
        "dat": {"m": "einem", "f": "einer", "n": "einem"},
    },
    "der": {
        "nom": {"m": "der", "f": "die", "n": "das", "p": "die"},
        "acc": {"m": "den", "f": "die", "n": "das", "p": "die"},
    },
}
_OTHERS = ("neu", "schön", "klein", "groß")
"""Adjectives that say nothing of kind, colour or pattern."""


def _ending(article: str, case: str, gender: str) -> str:
    """Of an adjective; `gender` is p for the plural."""
    if case == "dat" and article == "none" and gender != "p":
        return "er" if gender == "f" else "em"
    if case == "dat" or (article == "der" and gender == "p"):
        return "en"
    if article == "der":
        return "e" if case == "nom" or gender in "fn" else "en"
    if gender == "p":
        return "e"
    masculine = "er" if case == "nom" else "en"
    return {"m": masculine, "f": "e", "n": "es"}[gender]


def _inflected(adjective: str, ending: str) -> str:
    if adjective.endswith("="):
        return adjective[:-1]
    if adjective == "orange":
        return adjective if ending == "" else "orange" + ending.removeprefix("e")
    return adjective + ending


def _phrase(
    noun: _Noun, many: bool, article: str, case: str, adjectives: list[str], after: str
) -> str:
    gender = "p" if many else noun.gender
    if many and article == "ein":
        article = "none"
    before = _ARTICLES[article][case][gender] if article != "none" else ""
    ending = _ending(article, case, gender)
    word = noun.many if many else noun.one
    if many and case == "dat" and word[-1] not in "ns":
        word += "n"
    return joined(before, *(_inflected(a, ending) for a in adjectives), word, after)


def _sentence(said: Said, rng: np.random.Generator) -> str:
    colour = pick(rng, _COLOURS[said.colour]) if said.colour else ""
    adjective = after = ""
    if said.pattern:
        if rng.random() < 0.5:
            adjective = pick(rng, _PATTERNS[said.pattern])
        else:
            after = pick(rng, _WITH[said.pattern])
    lead, article, case = pick(rng, _LEADS)
    tail = pick(rng, _TAILS)
    adjectives = [a for a in (colour, adjective) if a]
    if rng.random() < 0.35:
        adjectives.reverse()
    if said.kind is None:
        ending = pick(rng, ("", "", "e", "es"))
        something = "etwas" if ending == "es" else ""
        words = [_inflected(a, ending) for a in adjectives]
        return joined(something, *words, after, tail)
    if len(adjectives) == 2 and rng.random() < 0.15:
        adjectives.insert(1, "und=")
    elif rng.random() < 0.15:
        adjectives.insert(0, pick(rng, _OTHERS))
    noun = pick(rng, _KINDS[said.kind])
    if rng.random() < 0.2:  # as people type: bare words in any order
        words = [noun.one, *(_inflected(a, "") for a in adjectives), after]
        if rng.random() < 0.3:
            words.reverse()
        return joined(*words)
    if colour and rng.random() < 0.15:
        after = joined(after, pick(rng, ("in", "in der Farbe")), _inflected(colour, ""))
        adjectives = [a for a in adjectives if a not in (colour, "und=")]
    phrase = _phrase(noun, rng.random() < 0.25, article, case, adjectives, after)
    return joined(lead, phrase, tail)


def _plain(said: Said) -> str:
    adjectives = [_COLOURS[said.colour][0]] if said.colour else []
    after = ""
    if said.pattern in _USUALLY_WITH:
        after = _WITH[said.pattern][0]
    elif said.pattern:
        adjectives.append(_PATTERNS[said.pattern][0])
    if said.kind is None:
        return joined(*(_inflected(a, "") for a in adjectives), after)
    return _phrase(_KINDS[said.kind][0], False, "none", "nom", adjectives, after)


def _unseen(said: Said, rng: np.random.Generator) -> str:
    assert said.kind
    assert said.colour
    assert said.pattern
    noun = pick(rng, _KINDS[said.kind])
    colour = _inflected(pick(rng, _COLOURS[said.colour]), "")
    having = pick(rng, _WITH[said.pattern])
    article = _ARTICLES["der"]["nom"][noun.gender]
    which = {"m": "welcher", "f": "welche", "n": "welches"}[noun.gender]
    return pick(
        rng,
        (
            f"{article.capitalize()} {noun.one}, {which} {colour} ist und {having}",
            f"Haben Sie {noun.many} {having}, am liebsten {colour}?",
            f"Geschenk für meine Schwester: {noun.one}, {colour}, {having}",
            f"{having.capitalize()} und {colour}: {article} {noun.one.upper()}",
        ),
    )


def _names() -> tuple[str, ...]:
    names: set[str] = set()
    for nouns in _KINDS.values():
        for noun in nouns:
            names |= {noun.one, noun.many, noun.many + "n" * (noun.many[-1] not in "ns")}
    for table in (_COLOURS, _PATTERNS):
        for adjectives in table.values():
            names |= {_inflected(a, ending) for a in adjectives for ending in ("", *_ENDINGS)}
    for phrases in _WITH.values():
        names |= {word for phrase in phrases for word in phrase.split()[1:]}
    return tuple(sorted(names - {"Muster"} | {"ohne"}))


def _fillers() -> tuple[str, ...]:
    texts = [*_TAILS, *(lead for lead, _, _ in _LEADS), "mit im in der Farbe etwas und Muster"]
    texts += [_inflected(other, ending) for other in _OTHERS for ending in ("", *_ENDINGS)]
    texts += [word for cases in _ARTICLES.values() for c in cases.values() for word in c.values()]
    return tuple(sorted({word for text in texts for word in text.split()}))


GERMAN = Language("German", "de", _sentence, _plain, _unseen, _names(), _fillers())
