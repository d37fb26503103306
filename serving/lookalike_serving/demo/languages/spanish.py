"""Spanish."""

from __future__ import annotations

from lookalike_serving.demo.languages.romance import Romance, language

_KINDS = {
    "mug": "taza:f, tazón:m, taza de café:f",
    "shirt": "camisa:f, camiseta:f, playera:f",
    "shoe": "zapato:m, zapatilla:f, calzado:m",
    "bag": "bolso:m, bolsa:f, cartera:f",
    "chair": "silla:f, asiento:m",
    "lamp": "lámpara:f, luminaria:f",
    "hat": "sombrero:m, gorro:m",
    "bottle": "botella:f, cantimplora:f",
    "vase": "jarrón:m, florero:m, urna:f",
    "plate": "plato:m, platillo:m",
    "cushion": "cojín:m:cojines, almohada:f, almohadón:m",
    "umbrella": "paraguas:m:paraguas, sombrilla:f",
    "backpack": "mochila:f, morral:m",
    "watch": "reloj:m",
    "sock": "calcetín:m:calcetines, calceta:f",
    "dress": "vestido:m",
    "trousers": "pantalón:m, pantalones:m:pantalones",
    "skirt": "falda:f, pollera:f",
    "sofa": "sofá:m:sofás, diván:m:divanes",
    "table": "mesa:f, escritorio:m",
    "book": "libro:m, cuaderno:m, libreta:f",
    "kettle": "tetera:f, hervidor:m, pava:f",
    "planter": "maceta:f, tiesto:m, macetero:m",
    "tie": "corbata:f",
}
_COLOURS = {
    "red": "rojo|roja, carmesí, escarlata=, encarnado|encarnada",
    "orange": "naranja=, anaranjado|anaranjada, mandarina=",
    "yellow": "amarillo|amarilla, dorado|dorada, limón=",
    "green": "verde, esmeralda=",
    "teal": "turquesa=, cian=, verde azulado, azul verdoso",
    "blue": "azul, azul cobalto, cobalto=",
    "purple": "morado|morada, violeta=, púrpura=",
    "pink": "rosa=, rosado|rosada",
    "brown": "marrón, castaño|castaña, chocolate=, pardo|parda",
    "black": "negro|negra, ébano=",
    "white": "blanco|blanca, marfil=",
    "grey": "gris, plateado|plateada, plomizo|plomiza",
}
_PATTERNS = {
    "plain": "liso|lisa, sin estampado, unicolor=, de un solo color, sin dibujos",
    "striped": "a rayas, de rayas, con rayas, rayado|rayada, con estampado de rayas, con franjas",
    "dotted": "de lunares, a lunares, con lunares, de puntos, con puntos, punteado|punteada",
    "checked": "a cuadros, de cuadros, con cuadros, cuadriculado|cuadriculada",
    "zigzag": "en zigzag, con zigzag, de zigzag, zigzagueado|zigzagueada",
    "floral": "de flores, floral, con flores, floreado|floreada, con estampado floral",
    "starry": "de estrellas, con estrellas, estrellado|estrellada, con estampado de estrellas",
    "wavy": "ondulado|ondulada, con ondas, de ondas, con olas",
    "diamond": "de rombos, con rombos, a rombos, con dibujo de rombos",
    "speckled": "moteado|moteada, jaspeado|jaspeada, con motas, salpicado|salpicada",
}


def _plural(word: str) -> str:
    if word[-1] in "sx":
        return word + "es" if word == "gris" else word
    if word[-1] in "aeiouáé":
        return word + "s"
    plain = word[:-2] + word[-2].replace("ó", "o") + word[-1] if word.endswith("ón") else word
    return plain + "es"


def _contracted(text: str) -> str:
    return f" {text} ".replace(" de el ", " del ").replace(" a el ", " al ").strip()


def _unseen(one: str, several: str, colour: str, pattern: str, feminine: bool) -> tuple[str, ...]:
    this, that, it = ("esta", "la", "La") if feminine else ("este", "el", "Lo")
    return (
        f"¿Tienen {this} {one} también {pattern}? {it} quiero {colour}.",
        f"{that} {one} que compré ayer: {colour}, {pattern}",
        f"{pattern}, {colour}: regalo para mi hermana, {one.upper()}",
        f"{several}: {colour}; {pattern}",
    )


SPANISH = language(
    Romance(
        name="Spanish",
        tag="es",
        kinds=_KINDS,
        colours=_COLOURS,
        patterns=_PATTERNS,
        negations=("sin", "solo"),
        articles={"un": ("un", "una", "unos", "unas"), "el": ("el", "la", "los", "las")},
        leads=(
            ("", ""),
            ("", ""),
            ("", "un"),
            ("", "el"),
            ("busco", "un"),
            ("quiero", "un"),
            ("muéstrame", "un"),
            ("enséñame", "el"),
            ("encuentra", "un"),
            ("foto de", "un"),
            ("una foto de", "un"),
            ("imagen de", "el"),
            ("imagen de", ""),
            ("parecido a", "el"),
        ),
        tails=("por favor", "en venta", "en oferta", "en el estudio", "", "", "", "", ""),
        in_colour=("en", "de color", "color", "en color"),
        something=("algo", "algo"),
        others=("nuevo|nueva", "bonito|bonita", "pequeño|pequeña", "grande"),
        both="y",
        small=(
            "a",
            "de",
            "con",
            "en",
            "un",
            "estampado",
            "dibujo",
            "dibujos",
            "color",
            "al",
            "del",
        ),
        plural=_plural,
        contracted=_contracted,
        unseen=_unseen,
    )
)
