"""Teach the demo model the words of more languages, and write it into the package.

    python bench/train_demo_languages.py [--steps 300] [--seed 1] [--quick] [--out DIR]

The teacher is the model as it is: its vector of the plain English words ("red striped mug"). The
pupil reads the same content in a random sentence of any language, and learns to give that vector
(cosine). No pictures are needed. A word starts with the vector of the English word beside which it
is seen most, and of "a" if there is none. Only the vectors of new words are trained, with those of
the English words that no caption held ("my", "and"); everything else is frozen. So pictures and
all other English sentences have exactly the vectors that they had, and an index stays as it is.

Sentences about held-out combinations are not used, as in `train_demo_model.py`, which trains the
model that this one extends. A second run begins with the English words alone.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from lookalike_serving.demo import captions
from lookalike_serving.demo.captions import parts, split
from lookalike_serving.demo.languages import LANGUAGES, Language
from lookalike_serving.demo.model import WEIGHTS, DemoModel, build, load_demo_model
from lookalike_serving.demo.products import COLOURS, KINDS, PATTERNS
from lookalike_serving.demo.said import Said, pick
from lookalike_serving.demo.tokenizer import PADDING, Tokenizer, folded

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.train_demo_model import write

EMBEDDING = "text.embedding.weight"


def vocabulary(english: list[str]) -> tuple[list[str], list[str]]:
    """All words and the fillers among them.

    The English ones keep their places. What can be read with them is not among the others: "mugs"
    stays the plural of "mug", though it is French, too.
    """
    reads_english = Tokenizer(english, 1)
    names = {folded(word) for each in LANGUAGES for word in each.names}
    fillers = {folded(word) for each in LANGUAGES for word in each.fillers} - names
    new = {word for word in names | fillers if reads_english.unknown_words(word)}
    return [*english, *sorted(new)], sorted(fillers & {*english, *new})


def never_read() -> set[str]:
    """English words of the vocabulary that no caption of `train_demo_model.py` holds."""
    rng = np.random.default_rng(0)
    products = split()[0]
    said = (captions.caption(products[i % len(products)], rng).text for i in range(20_000))
    return set(captions.vocabulary()) - {word for text in said for word in text.split()}


def taught(teacher: DemoModel) -> dict[Said, torch.Tensor]:
    """The teacher's vector of all that a sentence can say, in plain English."""
    every = [
        Said(kind, colour, pattern)
        for kind in (*KINDS, None)
        for colour in (*COLOURS, None)
        for pattern in (*PATTERNS, None)
    ]
    plain = [LANGUAGES[0].plain(said) for said in every]
    with torch.inference_mode():
        vectors = torch.cat(
            [
                teacher.model.encode_text(teacher.tokenizer(plain[start : start + 256]))
                for start in range(0, len(plain), 256)
            ]
        )
    return dict(zip(every, vectors.clone(), strict=True))


def first_guess(
    new: list[str], known: torch.Tensor, english: Tokenizer, tokenizer: Tokenizer
) -> torch.Tensor:
    """(new words, width): of each the vector of the English word that goes along with it.

    Exits if one is in no sentence.
    """
    rng = np.random.default_rng(0)
    products = split()[0]
    together: dict[str, Counter[str]] = {word: Counter() for word in new}
    for i in rng.integers(0, len(products), 60_000):
        said = parts(products[i], rng)
        words = tokenizer.split(pick(rng, LANGUAGES).sentence(said, rng))
        for word in {each.known_as for each in words if each.known_as is not None}:
            together.get(word, Counter[str]()).update(["", *(LANGUAGES[0].plain(said).split())])
    if unread := [word for word in new if not together[word]]:
        raise SystemExit(f"no sentence holds {', '.join(unread)}: nothing would be learned")
    rows = []
    for word in new:
        often, least = together[word], 0.9 * together[word][""]
        beside = [w for w, count in often.items() if w and count >= least]
        chosen = english([" ".join(beside) or "a"])[0]
        rows.append(known[chosen[chosen != PADDING]].mean(0))
    return torch.stack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a few steps; writes nothing")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    if options.quick:
        options.steps = 5

    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    config = json.loads((WEIGHTS / "config.json").read_text())
    teacher = load_demo_model()
    english = list(captions.vocabulary())
    words, fillers = vocabulary(english)
    config |= {"words": words, "fillers": fillers, "space": teacher.space}
    config["languages"] = [language.name for language in LANGUAGES]
    model, tokenizer, _ = build(config)

    state = teacher.model.state_dict()
    known = state[EMBEDDING][: len(english) + 1]
    fresh = first_guess(words[len(english) :], known, teacher.tokenizer, tokenizer)
    model.load_state_dict({**state, EMBEDDING: torch.cat([known, fresh])})
    model.requires_grad_(False)
    rows = model.text.embedding.weight.requires_grad_(True)
    fixed = torch.zeros(len(rows), 1, dtype=torch.bool)
    fixed[: len(english) + 1] = True
    for word in never_read():
        fixed[1 + english.index(word)] = False
    optimiser = torch.optim.Adam([rows], lr=options.rate)
    print(f"{len(words)} words, {int((~fixed).sum())} of them to learn", flush=True)

    products, _ = split()
    wanted = taught(teacher)
    begun = time.monotonic()
    for step in range(options.steps):
        gone = step / options.steps
        optimiser.param_groups[0]["lr"] = options.rate * (0.5 + 0.5 * math.cos(math.pi * gone))
        said = [parts(products[i], rng) for i in rng.integers(0, len(products), options.batch)]
        languages = [LANGUAGES[i] for i in rng.integers(0, len(LANGUAGES), options.batch)]
        tokens = tokenizer(
            [each.sentence(what, rng) for each, what in zip(languages, said, strict=True)]
        )
        read = tokens[:, : int((tokens != PADDING).sum(1).max())]
        vectors = model.encode_text(read)
        cosine = (vectors * torch.stack([wanted[what] for what in said])).sum(1)
        optimiser.zero_grad()
        torch.autograd.backward((1 - cosine).mean())
        assert rows.grad is not None
        rows.grad.masked_fill_(fixed, 0)
        optimiser.step()
        if (step + 1) % 20 == 0 or step + 1 == options.steps:
            by_language = "  ".join(
                f"{each.tag} {_mean(cosine, languages, each):.4f}" for each in LANGUAGES
            )
            print(f"{time.monotonic() - begun:5.0f} s  step {step + 1}  {by_language}", flush=True)
    if options.quick:
        return
    assert torch.equal(rows[fixed[:, 0]], known[fixed[: len(known), 0]])
    config["training"]["languages"] = {
        "seed": options.seed,
        "batch": options.batch,
        "rate": options.rate,
        "steps": options.steps,
    }
    write(options.out, model.state_dict(), config)


def _mean(cosine: torch.Tensor, languages: list[Language], one: Language) -> float:
    chosen = torch.tensor([each is one for each in languages])
    return float(cosine.detach()[chosen].mean())


if __name__ == "__main__":
    main()
