"""Japanese: no spaces, what describes comes before the noun, and particles join the parts.

A colour is written as an adjective (赤い), or as a noun that a particle joins (赤の, 赤色の).
"""

from __future__ import annotations

import numpy as np

from lookalike_serving.demo.said import Language, Said, pick

_KINDS = {
    "mug": "マグカップ カップ コーヒーカップ マグ",
    "shirt": "シャツ Tシャツ ワイシャツ",
    "shoe": "靴 スニーカー シューズ くつ",
    "bag": "バッグ かばん 鞄 トートバッグ ハンドバッグ カバン",
    "chair": "椅子 いす イス チェア",
    "lamp": "ランプ 照明 ライト",
    "hat": "帽子 ハット ぼうし",
    "bottle": "ボトル 瓶 水筒 びん",
    "vase": "花瓶 花びん 壺 フラワーベース",
    "plate": "皿 お皿 プレート",
    "cushion": "クッション 枕 ピロー",
    "umbrella": "傘 日傘 かさ パラソル",
    "backpack": "リュックサック リュック バックパック",
    "watch": "腕時計 時計 ウォッチ",
    "sock": "靴下 ソックス くつした",
    "dress": "ドレス ワンピース",
    "trousers": "ズボン パンツ",
    "skirt": "スカート",
    "sofa": "ソファ ソファー カウチ",
    "table": "テーブル 机 つくえ デスク",
    "book": "本 ノート 手帳",
    "kettle": "やかん ケトル ティーポット 急須",
    "planter": "植木鉢 プランター 鉢",
    "tie": "ネクタイ",
}
# Nouns, which の joins; those that end in い or な are adjectives as they are.
_COLOURS = {
    "red": "赤い 赤 赤色 真っ赤な レッド 紅色",
    "orange": "オレンジ色 オレンジ 橙色 だいだい色",
    "yellow": "黄色い 黄色 金色 イエロー レモン色",
    "green": "緑 緑色 グリーン エメラルド色 みどり",
    "teal": "青緑 青緑色 ターコイズ ターコイズ色",
    "blue": "青い 青 青色 ブルー 真っ青な コバルト色",
    "purple": "紫 紫色 パープル バイオレット すみれ色",
    "pink": "ピンク ピンク色 桃色 ローズ",
    "brown": "茶色い 茶色 ブラウン チョコレート色",
    "black": "黒い 黒 黒色 真っ黒な ブラック",
    "white": "白い 白 白色 真っ白な ホワイト アイボリー",
    "grey": "灰色 グレー シルバー 銀色 ねずみ色",
}
_PATTERNS = {
    "plain": "無地 柄なし 模様なし 単色",
    "striped": "縞模様 ストライプ ストライプ柄 しま模様 ボーダー柄",
    "dotted": "水玉模様 水玉 ドット柄 水玉柄 ドット",
    "checked": "チェック柄 チェック 格子柄 格子模様 市松模様",
    "zigzag": "ジグザグ模様 ジグザグ ジグザグ柄 シェブロン柄 ギザギザ模様",
    "floral": "花柄 花模様 フラワー柄 小花柄",
    "starry": "星柄 星模様 スター柄 星",
    "wavy": "波模様 波柄 ウェーブ柄 波形",
    "diamond": "ひし形模様 ひし形 菱形 ダイヤ柄 アーガイル柄 アーガイル",
    "speckled": "斑点模様 まだら模様 斑点 まだら",
}
_LEADS = ("この", "その", "新しい", "かわいい", "素敵な", "小さな", "大きな", *[""] * 7)
_TAILS = (
    "の写真", "の画像", "を探しています", "を探して", "が欲しい", "をください", "を見せて",
    "はありますか", "を買いたい", "に似たもの",
    "を", "", "", "", "", "", "",
)  # fmt: skip
_THINGS = ("もの", "商品", "", "")
_PARTS = ("の", "で", "と", "が", "は", "を", "色", "柄", "模様")


def _joining(word: str) -> str:
    """The word as it stands before a noun."""
    return word if word[-1] in "いな" else word + "の"


def _bare(colour: str) -> str:
    """The noun of a colour: 赤い and 真っ赤な are both 赤."""
    return colour.removeprefix("真っ").rstrip("いな")


def _explicit(noun: str, colour: str, pattern: str, rng: np.random.Generator) -> str:
    """With the words for colour and pattern: 色が赤で柄が花柄のシャツ."""
    which = pick(rng, ("柄", "模様"))
    if not colour or not pattern:
        what = f"色が{colour}" if colour else f"{which}が{pattern}" if pattern else ""
        return f"{what}の{noun}" if what else noun
    return pick(
        rng,
        (
            f"色が{colour}で{which}が{pattern}の{noun}",
            f"色は{colour}、{which}は{pattern}、{noun}",
            f"{colour}と{pattern}の{noun}",
        ),
    )


def _sentence(said: Said, rng: np.random.Generator) -> str:
    colour = pick(rng, _COLOURS[said.colour].split()) if said.colour else ""
    pattern = pick(rng, _PATTERNS[said.pattern].split()) if said.pattern else ""
    parts = [part for part in (colour, pattern) if part]
    if rng.random() < 0.4:
        parts.reverse()
    noun = pick(rng, _KINDS[said.kind].split()) if said.kind else pick(rng, _THINGS)
    roll = rng.random()
    if roll < 0.2:  # as people type: words with spaces
        words = [word for word in (*parts, noun) if word]
        if rng.random() < 0.4:
            words.reverse()
        return pick(rng, (" ", " ", "\u3000", "、")).join(words)
    lead, tail = pick(rng, _LEADS), pick(rng, _TAILS)
    if not noun:
        return lead + "".join(_joining(part) for part in parts[:-1]) + parts[-1] + tail
    if roll < 0.3:
        return lead + _explicit(noun, _bare(colour), pattern, rng) + tail
    if len(parts) == 2 and roll < 0.4:
        return f"{lead}{parts[0].rstrip('いな')}で{_joining(parts[1])}{noun}{tail}"
    return lead + "".join(_joining(part) for part in parts) + noun + tail


def _plain(said: Said) -> str:
    parts = [_COLOURS[said.colour].split()[0]] if said.colour else []
    parts += [_PATTERNS[said.pattern].split()[0]] if said.pattern else []
    if said.kind is None:
        return "の".join(parts)
    return "".join(_joining(part) for part in parts) + _KINDS[said.kind].split()[0]


def _unseen(said: Said, rng: np.random.Generator) -> str:
    assert said.kind
    assert said.colour
    assert said.pattern
    noun, colour, pattern = (
        pick(rng, table.split())
        for table in (_KINDS[said.kind], _COLOURS[said.colour], _PATTERNS[said.pattern])
    )
    colour = _bare(colour)
    return pick(
        rng,
        (
            f"この{noun}の{pattern}で{colour}のはどこですか？",
            f"姉への贈り物：{noun}({colour}・{pattern})",
            f"{pattern}と{colour}、昨日見た{noun}",
            f"{noun}　{pattern}　{colour}　通販",
        ),
    )


def _names() -> tuple[str, ...]:
    texts = [*_KINDS.values(), *_COLOURS.values(), *_PATTERNS.values()]
    words = {word for text in texts for word in text.split()}
    # As an adjective loses its ending: 赤い -> 赤, 真っ赤な -> 真っ赤.
    return tuple(
        sorted(words | {w[:-1] for t in _COLOURS.values() for w in t.split() if w[-1] in "いな"})
    )


_FILLERS = tuple(sorted({*_LEADS, *_TAILS, *_THINGS, *_PARTS} - {""}))

JAPANESE = Language("Japanese", "ja", _sentence, _plain, _unseen, _names(), _FILLERS)
