"""French."""

from __future__ import annotations

import re

from lookalike_serving.demo.languages.romance import Romance, language

_KINDS = {
    "mug": "tasse:f, mug:m, tasse à café:f",
    "shirt": "chemise:f, t-shirt:m, maillot:m, tee-shirt:m",
    "shoe": "chaussure:f, soulier:m",
    "bag": "sac:m, sac à main:m, cabas:m",
    "chair": "chaise:f, siège:m",
    "lamp": "lampe:f, luminaire:m",
    "hat": "chapeau:m:chapeaux",
    "bottle": "bouteille:f, gourde:f, flacon:m",
    "vase": "vase:m, urne:f",
    "plate": "assiette:f, plat:m",
    "cushion": "coussin:m, oreiller:m",
    "umbrella": "parapluie:m, ombrelle:f, parasol:m",
    "backpack": "sac à dos:m, cartable:m",
    "watch": "montre:f",
    "sock": "chaussette:f",
    "dress": "robe:f",
    "trousers": "pantalon:m, pantalons:m:pantalons",
    "skirt": "jupe:f, jupette:f",
    "sofa": "canapé:m, sofa:m, divan:m",
    "table": "table:f, bureau:m:bureaux",
    "book": "livre:m, carnet:m, cahier:m",
    "kettle": "bouilloire:f, théière:f",
    "planter": "pot de fleurs:m, jardinière:f, cache-pot:m:cache-pots, pot:m",
    "tie": "cravate:f",
}
_COLOURS = {
    "red": "rouge, cramoisi|cramoisie, écarlate, vermeil|vermeille",
    "orange": "orange=, orangé|orangée, mandarine=",
    "yellow": "jaune, doré|dorée, citron=",
    "green": "vert|verte, émeraude=",
    "teal": "turquoise=, cyan=, bleu-vert=, sarcelle=",
    "blue": "bleu|bleue, bleu cobalt, cobalt=",
    "purple": "violet|violette, pourpre, mauve",
    "pink": "rose, rosé|rosée",
    "brown": "marron=, brun|brune, chocolat=",
    "black": "noir|noire, ébène=",
    "white": "blanc|blanche, ivoire=",
    "grey": "gris|grise, argenté|argentée",
}
_PATTERNS = {
    "plain": "uni|unie, sans motif, sans motifs, de couleur unie, monochrome",
    "striped": "à rayures, rayé|rayée, avec des rayures, à bandes",
    "dotted": "à pois, avec des pois, à points, pointillé|pointillée",
    "checked": "à carreaux, avec des carreaux, quadrillé|quadrillée, en damier",
    "zigzag": "à zigzags, en zigzag, à chevrons, avec des zigzags",
    "floral": "à fleurs, fleuri|fleurie, avec des fleurs, à motif floral, floral|florale",
    "starry": "à étoiles, étoilé|étoilée, avec des étoiles",
    "wavy": "à vagues, ondulé|ondulée, avec des vagues, à ondes",
    "diamond": "à losanges, avec des losanges, à motif de losanges, losangé|losangée",
    "speckled": "moucheté|mouchetée, tacheté|tachetée, avec des mouchetures, à mouchetures",
}


def _plural(word: str) -> str:
    if word[-1] in "sxz":
        return word
    return word + ("x" if word.endswith("eau") else "s")


def _contracted(text: str) -> str:
    text = f" {text} ".replace(" de le ", " du ").replace(" de les ", " des ")
    text = text.replace(" à le ", " au ").replace(" à les ", " aux ").replace(" de des ", " de ")
    return re.sub(r" (d|l)[ea] (?=[aeiouéèêhœ])", r" \1'", text).strip()


def _unseen(one: str, several: str, colour: str, pattern: str, feminine: bool) -> tuple[str, ...]:
    this, that = ("cette", "la") if feminine else ("ce", "le")
    return (
        f"Avez-vous {this} {one} {pattern}, mais {colour} ?",
        f"{that} {one} que j'ai vu hier : {colour}, {pattern}",
        f"{pattern}, {colour} : cadeau pour ma sœur, {one.upper()}",
        f"{several} ; {colour} ; {pattern}",
    )


FRENCH = language(
    Romance(
        name="French",
        tag="fr",
        kinds=_KINDS,
        colours=_COLOURS,
        patterns=_PATTERNS,
        negations=("sans",),
        articles={"un": ("un", "une", "des", "des"), "le": ("le", "la", "les", "les")},
        leads=(
            ("", ""),
            ("", ""),
            ("", "un"),
            ("", "le"),
            ("je cherche", "un"),
            ("je veux", "un"),
            ("montrez-moi", "un"),
            ("montre-moi", "le"),
            ("trouve", "un"),
            ("photo de", "un"),
            ("une photo de", "un"),
            ("image de", "le"),
            ("image de", ""),
            ("semblable à", "le"),
        ),
        tails=("s'il vous plaît", "à vendre", "en promotion", "en studio", "", "", "", "", ""),
        in_colour=("en", "de couleur", "couleur"),
        something=("quelque chose de", "quelque chose"),
        others=("neuf|neuve", "joli|jolie", "petit|petite", "grand|grande"),
        both="et",
        small=(
            *("à", "de", "avec", "des", "en", "motif", "motifs", "couleur"),
            *("d", "l", "du", "au", "aux"),
        ),
        plural=_plural,
        contracted=_contracted,
        unseen=_unseen,
    )
)
