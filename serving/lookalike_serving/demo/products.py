"""The catalogue's world: kinds of product, colours, patterns, and the words people use for them.

Shapes are drawn in a box of 100 x 100 units, y downwards, with SVG's absolute path commands
(M L H V Q C Z). A shape's `body` carries the product's colour and pattern; everything else is trim.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trim:
    """A part that does not carry the pattern. Fill where `width` is 0, else a stroke (units)."""

    path: str
    colour: str
    """`body`, `dark` or `light` (shades of the product's colour), or `#rrggbb`."""
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class Shape:
    body: tuple[str, ...]
    under: tuple[Trim, ...] = ()
    """Drawn before the body."""
    over: tuple[Trim, ...] = ()
    """Drawn after the body."""


WOOD, STEEL, INK, PAPER, LEAF = "#8a6242", "#9aa0a8", "#2b2b30", "#f4f0e6", "#4c9a58"

SHAPES: dict[str, Shape] = {
    "mug": Shape(
        body=("M20 24 H68 V74 Q68 86 57 86 H31 Q20 86 20 74 Z",),
        under=(Trim("M66 38 H74 Q87 38 87 52 Q87 67 72 67 H66", "body", 7),),
        over=(Trim("M20 24 Q44 15 68 24 Q44 33 20 24 Z", "dark"),),
    ),
    "shirt": Shape(
        body=("M36 12 Q50 24 64 12 L92 28 L83 50 L73 44 V90 H27 V44 L17 50 L8 28 Z",),
        over=(Trim("M36 12 Q50 24 64 12", "dark", 3),),
    ),
    "shoe": Shape(
        body=("M8 44 Q20 50 30 38 L44 28 Q50 46 70 53 Q92 58 93 71 H8 Z",),
        over=(
            Trim("M6 70 H94 V76 Q94 82 87 82 H13 Q6 82 6 76 Z", PAPER),
            Trim("M44 40 L54 34 M50 47 L60 40 M57 52 L67 46", PAPER, 2.4),
        ),
    ),
    "bag": Shape(
        body=("M18 40 H82 L90 90 H10 Z",),
        under=(Trim("M33 44 Q33 11 50 11 Q67 11 67 44", INK, 4.5),),
        over=(Trim("M18 40 H82", "dark", 3),),
    ),
    "chair": Shape(
        body=("M28 8 H70 Q74 8 74 12 V50 H24 V12 Q24 8 28 8 Z", "M20 54 H78 L86 66 H12 Z"),
        under=(
            Trim("M16 62 L12 96 M82 62 L86 96 M30 62 V88 M68 62 V88", WOOD, 4.5),
            Trim("M28 46 V58 M70 46 V58", WOOD, 4),
        ),
    ),
    "lamp": Shape(
        body=("M36 8 H64 L84 50 H16 Z",),
        under=(
            Trim("M47 46 H53 V86 H47 Z", STEEL),
            Trim("M30 86 Q50 78 70 86 V92 H30 Z", STEEL),
        ),
    ),
    "hat": Shape(
        body=(
            "M27 56 Q24 18 50 18 Q76 18 73 56 Q50 66 27 56 Z",
            "M4 62 Q24 50 28 54 Q50 64 72 54 Q76 50 96 62 Q50 88 4 62 Z",
        ),
        over=(Trim("M27 52 Q50 62 73 52", INK, 5),),
    ),
    "bottle": Shape(
        body=(
            "M42 10 H58 V24 Q58 32 66 39 Q71 43 71 52 V88 Q71 95 64 95 H36 Q29 95 29 88 V52 "
            "Q29 43 34 39 Q42 32 42 24 Z",
        ),
        over=(Trim("M40 4 H60 V13 H40 Z", STEEL),),
    ),
    "vase": Shape(
        body=(
            "M38 6 H62 Q56 20 62 32 Q84 52 74 76 Q68 94 60 95 H40 Q32 94 26 76 Q16 52 38 32 "
            "Q44 20 38 6 Z",
        ),
        over=(Trim("M38 6 Q50 12 62 6 Q50 1 38 6 Z", "dark"),),
    ),
    "plate": Shape(
        body=("M50 6 C74 6 94 26 94 50 C94 74 74 94 50 94 C26 94 6 74 6 50 C6 26 26 6 50 6 Z",),
        over=(
            Trim(
                "M50 22 C65 22 78 35 78 50 C78 65 65 78 50 78 "
                "C35 78 22 65 22 50 C22 35 35 22 50 22 Z",
                "light",
                2.2,
            ),
        ),
    ),
    "cushion": Shape(
        body=("M12 16 Q50 25 88 16 Q79 50 88 84 Q50 75 12 84 Q21 50 12 16 Z",),
        over=(Trim("M12 16 Q50 25 88 16 Q79 50 88 84 Q50 75 12 84 Q21 50 12 16 Z", "dark", 2),),
    ),
    "umbrella": Shape(
        body=(
            "M4 54 Q8 10 50 9 Q92 10 96 54 Q88 45 80 54 Q73 45 65 54 Q58 45 50 54 Q42 45 35 54 "
            "Q27 45 20 54 Q12 45 4 54 Z",
        ),
        under=(
            Trim("M50 50 V84 Q50 94 41 94 Q34 94 34 87", WOOD, 4.5),
            Trim("M50 4 V12", WOOD, 3),
        ),
    ),
    "backpack": Shape(
        body=("M22 36 Q22 14 50 14 Q78 14 78 36 V84 Q78 92 70 92 H30 Q22 92 22 84 Z",),
        under=(
            Trim("M42 16 Q42 5 50 5 Q58 5 58 16", INK, 4),
            Trim("M24 44 Q10 50 14 84 L24 84", INK, 5),
            Trim("M76 44 Q90 50 86 84 L76 84", INK, 5),
        ),
        over=(
            Trim("M31 56 H69 V82 H31 Z", "dark", 2.6),
            Trim("M24 38 Q50 46 76 38", "dark", 2.6),
        ),
    ),
    "watch": Shape(
        body=("M38 2 H62 L65 32 H35 Z", "M35 68 H65 L62 98 H38 Z"),
        over=(
            Trim(
                "M50 24 C64 24 76 36 76 50 C76 64 64 76 50 76 "
                "C36 76 24 64 24 50 C24 36 36 24 50 24 Z",
                STEEL,
            ),
            Trim(
                "M50 30 C61 30 70 39 70 50 C70 61 61 70 50 70 "
                "C39 70 30 61 30 50 C30 39 39 30 50 30 Z",
                PAPER,
            ),
            Trim("M50 38 V51 L59 56", INK, 2.6),
        ),
    ),
    "sock": Shape(
        body=("M32 6 H62 V46 Q62 58 74 64 Q90 72 85 84 Q78 95 60 90 Q40 84 33 66 Q32 62 32 58 Z",),
        over=(Trim("M32 6 H62 V17 H32 Z", "dark"),),
    ),
    "dress": Shape(
        body=(
            "M37 6 L42 18 Q50 25 58 18 L63 6 L71 10 Q67 30 62 42 L88 90 Q50 99 12 90 L38 42 "
            "Q33 30 29 10 Z",
        ),
        over=(Trim("M38 42 H62", INK, 3.4),),
    ),
    "trousers": Shape(
        body=("M28 6 H72 L80 94 H58 L50 36 L42 94 H20 Z",),
        over=(Trim("M28 6 H72 V13 H28 Z", "dark"), Trim("M50 13 V34", "dark", 1.6)),
    ),
    "skirt": Shape(
        body=("M34 16 H66 L92 82 Q50 95 8 82 Z",),
        over=(Trim("M33 12 H67 V20 H33 Z", INK),),
    ),
    "sofa": Shape(
        body=(
            "M14 34 Q14 24 24 24 H76 Q86 24 86 34 V60 H14 Z",
            "M4 46 Q4 40 11 40 Q18 40 18 48 V62 H82 V48 Q82 40 89 40 Q96 40 96 46 V82 H4 Z",
        ),
        under=(Trim("M14 78 V92 M86 78 V92", WOOD, 5),),
        over=(Trim("M18 62 H82 M50 30 V60", "dark", 1.8),),
    ),
    "table": Shape(
        body=("M14 32 H86 L98 48 H2 Z", "M2 48 H98 V56 H2 Z"),
        under=(Trim("M8 52 V94 M92 52 V94 M24 52 V84 M76 52 V84", WOOD, 5),),
        over=(Trim("M2 48 H98", "dark", 1.8),),
    ),
    "book": Shape(
        body=("M22 8 H76 Q82 8 82 14 V84 H28 Q22 84 20 90 Q16 92 16 84 V14 Q16 8 22 8 Z",),
        under=(Trim("M20 84 H80 V93 H24 Q18 93 18 88 Z", PAPER),),
        over=(Trim("M25 8 V84", "dark", 2), Trim("M36 22 H70 V38 H36 Z", PAPER)),
    ),
    "kettle": Shape(
        body=("M25 42 Q27 26 50 26 Q73 26 75 42 L82 82 Q82 90 74 90 H26 Q18 90 18 82 Z",),
        under=(
            Trim("M28 34 Q50 -10 72 34", INK, 5),
            Trim("M72 56 L90 36 L97 41 L80 70 Z", "body"),
        ),
        over=(Trim("M45 26 Q50 14 55 26 Z", INK),),
    ),
    "planter": Shape(
        body=("M20 52 H80 L71 94 H29 Z",),
        under=(
            Trim("M50 54 Q20 40 16 10 Q46 18 50 54 Z", LEAF),
            Trim("M50 54 Q80 40 84 10 Q54 18 50 54 Z", LEAF),
            Trim("M50 54 Q38 24 50 2 Q62 24 50 54 Z", "#6ab774"),
        ),
        over=(Trim("M17 48 H83 V57 H17 Z", "dark"),),
    ),
    "tie": Shape(
        body=("M42 22 L58 22 L69 76 L50 98 L31 76 Z",),
        over=(Trim("M39 4 H61 L57 22 H43 Z", "dark"),),
    ),
}

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 38, 44),
    "orange": (240, 132, 28),
    "yellow": (246, 210, 48),
    "green": (52, 148, 66),
    "teal": (24, 150, 156),
    "blue": (42, 88, 200),
    "purple": (122, 58, 168),
    "pink": (244, 140, 178),
    "brown": (122, 76, 44),
    "black": (38, 38, 42),
    "white": (244, 243, 238),
    "grey": (138, 141, 146),
}

PATTERNS: tuple[str, ...] = (
    "plain",
    "striped",
    "dotted",
    "checked",
    "zigzag",
    "floral",
    "starry",
    "wavy",
    "diamond",
    "speckled",
)

KINDS: tuple[str, ...] = tuple(SHAPES)

KIND_WORDS: dict[str, tuple[str, ...]] = {
    "mug": ("mug", "cup", "coffee mug"),
    "shirt": ("shirt", "t-shirt", "tee"),
    "shoe": ("shoe", "sneaker", "trainer"),
    "bag": ("bag", "tote", "handbag"),
    "chair": ("chair", "seat"),
    "lamp": ("lamp", "light"),
    "hat": ("hat", "sun hat"),
    "bottle": ("bottle", "flask"),
    "vase": ("vase", "urn"),
    "plate": ("plate", "dish"),
    "cushion": ("cushion", "pillow"),
    "umbrella": ("umbrella", "parasol"),
    "backpack": ("backpack", "rucksack"),
    "watch": ("watch", "wristwatch"),
    "sock": ("sock", "stocking"),
    "dress": ("dress", "gown"),
    "trousers": ("trousers", "pants"),
    "skirt": ("skirt",),
    "sofa": ("sofa", "couch"),
    "table": ("table", "desk"),
    "book": ("book", "notebook"),
    "kettle": ("kettle", "teapot"),
    "planter": ("planter", "plant pot", "flowerpot"),
    "tie": ("tie", "necktie"),
}

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "golden", "lemon"),
    "green": ("green", "emerald"),
    "teal": ("teal", "turquoise", "cyan"),
    "blue": ("blue", "cobalt"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rose"),
    "brown": ("brown", "chocolate"),
    "black": ("black", "ebony"),
    "white": ("white", "ivory"),
    "grey": ("grey", "gray", "silver"),
}

PATTERN_WORDS: dict[str, tuple[str, ...]] = {
    "plain": ("plain", "solid", "unpatterned"),
    "striped": ("striped", "stripy"),
    "dotted": ("dotted", "spotted", "polka dot"),
    "checked": ("checked", "chequered", "checkered"),
    "zigzag": ("zigzag", "chevron"),
    "floral": ("floral", "flowery"),
    "starry": ("starry", "starred"),
    "wavy": ("wavy", "waved"),
    "diamond": ("diamond", "argyle"),
    "speckled": ("speckled", "flecked"),
}

PATTERN_NOUNS: dict[str, tuple[str, ...]] = {
    "plain": ("no pattern",),
    "striped": ("stripes",),
    "dotted": ("dots", "polka dots", "spots"),
    "checked": ("checks", "squares"),
    "zigzag": ("zigzags", "chevrons"),
    "floral": ("flowers",),
    "starry": ("stars",),
    "wavy": ("waves",),
    "diamond": ("diamonds",),
    "speckled": ("speckles", "flecks"),
}
