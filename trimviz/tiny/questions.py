"""Asks about a scene: nine kinds of question, each with its one right answer; it never looks at pixels."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .world import COLORS, GROUNDS, SHAPES, SIDE, SIZES, TEXTURES, WORDS, Scene, Thing

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
PLACES = (
    ("top left", "top", "top right"),
    ("left", "center", "right"),
    ("bottom left", "bottom", "bottom right"),
)
PLURALS = {shape: f"{shape}es" if shape == "cross" else f"{shape}s" for shape in SHAPES}
CLEAR = 42  # pixels by which one thing must be left of or above another before the question is asked
EDGE = 12  # pixels that a thing's centre must stay away from the lines between two places

TEMPLATES = {
    "color": ("what color is the {}?", "which color does the {} have?"),
    "shape": ("what shape is the {}?", "which shape does the {} have?"),
    "count": ("how many {} are there?", "count the {}."),
    "presence": ("is there {}?", "do you see {}?"),
    "position": ("where is the {}?", "in which place is the {}?"),
    "relation": ("is the {} {} the {}?",),
    "text": ("what is written?", "what does the sign say?", "read the words."),
    "pattern": ("what pattern is the background?", "which pattern does the background have?"),
    "ground": ("what color is the background?", "which color does the background have?"),
    "caption": ("describe the picture.", "what is in the picture?"),
}
KINDS = ("color", "shape", "count", "presence", "position", "relation", "text", "background", "caption")
SUGGESTED = (
    "what color is the star?",
    "what shape is the small red thing?",
    "how many things are there?",
    "is there a blue circle?",
    "where is the big heart?",
    "is the ring left of the arrow?",
    "what is written?",
    "what pattern is the background?",
    "describe the picture.",
)  # one of each kind, for people to start from


NO_THING, NO_WORD = -1, -2  # what a phrase names that is not in the picture


@dataclass(frozen=True)
class Question:
    kind: str
    text: str
    answer: str
    # (word of the question, what it names): the last word of each phrase; things are counted first, then printed words.
    # Training uses it to teach what a phrase points at; nothing else reads it.
    marks: tuple[tuple[int, int], ...] = ()


def ask(scene: Scene, kind: str, rng: np.random.Generator) -> Question | None:
    """A random question of one kind, or None where the scene leaves room for doubt."""
    if kind not in _ASK:
        raise ValueError(f"Unknown kind of question {kind!r}: expected one of {', '.join(KINDS)}.")
    return _ASK[kind](scene, rng)


def quiz(scene: Scene, rng: np.random.Generator) -> list[Question]:
    """One question of every kind that the scene allows."""
    return [question for kind in KINDS if (question := ask(scene, kind, rng)) is not None]


def vocabulary() -> tuple[str, ...]:
    """Every word and mark that the bundled model knows, in the order of the alphabet."""
    texts = [template.replace("{}", " ") for templates in TEMPLATES.values() for template in templates]
    texts += [
        "left of right of above below a an and yes no nothing on background thing things the word user assistant :"
    ]
    texts += [*NUMBERS, *(place for row in PLACES for place in row), *SHAPES, *PLURALS.values()]
    texts += [*COLORS, *SIZES, *TEXTURES, *GROUNDS, *WORDS]
    return tuple(sorted({word for text in texts for word in split(text)}))


def split(text: str) -> list[str]:
    """A text as the tokenizer cuts it: lower case, words and marks apart."""
    return re.findall(r"[^\W_]+|[^\w\s]|_", text.lower())


def unknown_words(question: str) -> list[str]:
    """The words of a question that the bundled model has never seen."""
    known = set(vocabulary())
    return [word for word in dict.fromkeys(split(question)) if word.isalnum() and word not in known]


def _say(kind: str, rng: np.random.Generator, answer: str, *phrases: tuple[str, int | None]) -> Question:
    """Fills a template; each phrase comes with what it names, None where that is no single thing."""
    template = TEMPLATES[kind][int(rng.integers(len(TEMPLATES[kind])))]
    marks, pieces = [], template.split("{}")
    text = pieces[0]
    for (phrase, thing), piece in zip(phrases, pieces[1:], strict=True):
        text += phrase
        if thing is not None:
            marks.append((len(split(text)) - 1, thing))
        text += piece
    kind = "background" if kind in ("pattern", "ground") else kind
    return Question(kind, text, answer, tuple(marks))


def _phrase(thing: Thing, parts: tuple[str, ...]) -> str:
    words = [getattr(thing, part) for part in parts]
    return " ".join(words if "shape" in parts else [*words, "thing"])


def _phrases(scene: Scene, *ways: tuple[str, ...]) -> list[tuple[str, int]]:
    """Every phrase, made in one of these ways, that fits exactly one thing."""
    found = []
    for parts in ways:
        named = [_phrase(thing, parts) for thing in scene.things]
        found += [(name, i) for i, name in enumerate(named) if named.count(name) == 1]
    return found


def _pick(rng: np.random.Generator, options: list[Any]) -> Any:
    return options[int(rng.integers(len(options)))] if options else None


_BY_SHAPE = (("shape",), ("color", "shape"), ("size", "shape"))


def _color(scene: Scene, rng: np.random.Generator) -> Question | None:
    chosen = _pick(rng, _phrases(scene, ("shape",), ("size", "shape")))
    return chosen and _say("color", rng, scene.things[chosen[1]].color, chosen)


def _shape(scene: Scene, rng: np.random.Generator) -> Question | None:
    chosen = _pick(rng, _phrases(scene, ("color",), ("size", "color")))
    return chosen and _say("shape", rng, scene.things[chosen[1]].shape, chosen)


def _count(scene: Scene, rng: np.random.Generator) -> Question | None:
    way = rng.integers(3)
    if way == 0:
        return _say("count", rng, NUMBERS[len(scene.things)], ("things", None))
    part, names = ("shape", SHAPES) if way == 1 else ("color", tuple(COLORS))
    here = sorted({getattr(thing, part) for thing in scene.things})
    name = _pick(rng, here) if rng.random() < 0.85 else str(rng.choice(names))
    several = [n for n in here if sum(getattr(thing, part) == n for thing in scene.things) > 1]
    if several and rng.random() < 0.6:
        name = _pick(rng, several)
    number = sum(getattr(thing, part) == name for thing in scene.things)
    return _say("count", rng, NUMBERS[number], (PLURALS[name] if part == "shape" else f"{name} things", None))


def _presence(scene: Scene, rng: np.random.Generator) -> Question | None:
    if scene.words and rng.random() < 0.15:
        here = [word.text for word in scene.words]
        yes = rng.random() < 0.5
        word = _pick(rng, here if yes else [w for w in WORDS if w not in here])
        which = len(scene.things) + here.index(word) if yes else NO_WORD
        return _say("presence", rng, "yes" if yes else "no", (f"the word {word}", which))
    parts = _pick(rng, [("shape",), ("color",), ("color", "shape"), ("color", "shape")])
    here = [_phrase(thing, parts) for thing in scene.things]
    if rng.random() < 0.5:
        i = int(rng.integers(len(here)))
        return _say("presence", rng, "yes", (_a(here[i]), i if here.count(here[i]) == 1 else None))
    shapes, colors = list(SHAPES), list(COLORS)
    if rng.random() < 0.7 and len(parts) == 2:  # nearly there: the right color or the right shape, never both
        like = scene.things[int(rng.integers(len(scene.things)))]
        shapes, colors = ([like.shape], colors) if rng.random() < 0.5 else (shapes, [like.color])
    if len(parts) == 2:
        options = [f"{color} {shape}" for color in colors for shape in shapes]
    else:
        options = shapes if parts == ("shape",) else [f"{color} thing" for color in colors]
    absent = _pick(rng, [option for option in options if option not in here])
    return absent and _say("presence", rng, "no", (_a(absent), NO_THING))


def _position(scene: Scene, rng: np.random.Generator) -> Question | None:
    third = SIDE / 3

    def clear(v: int) -> bool:
        return min(abs(v - third), abs(v - 2 * third)) >= EDGE

    options = [(p, i) for p, i in _phrases(scene, *_BY_SHAPE) if clear(scene.things[i].x) and clear(scene.things[i].y)]
    chosen = _pick(rng, options)
    if chosen is None:
        return None
    thing = scene.things[chosen[1]]
    return _say("position", rng, PLACES[int(thing.y // third)][int(thing.x // third)], chosen)


def _relation(scene: Scene, rng: np.random.Generator) -> Question | None:
    phrases = _phrases(scene, *_BY_SHAPE)
    pairs = []
    for first, a in phrases:
        for second, b in phrases:
            dx, dy = scene.things[b].x - scene.things[a].x, scene.things[b].y - scene.things[a].y
            for word, gap in (("left of", dx), ("right of", -dx), ("above", dy), ("below", -dy)):
                if a != b and abs(gap) >= CLEAR:
                    pairs.append((first, a, word, second, b, gap > 0))
    chosen = _pick(rng, pairs)  # every pair is there both ways round, so yes and no are equally likely
    if chosen is None:
        return None
    first, a, word, second, b, yes = chosen
    return _say("relation", rng, "yes" if yes else "no", (first, a), (word, None), (second, b))


def _text(scene: Scene, rng: np.random.Generator) -> Question | None:
    words = sorted(scene.words, key=lambda word: word.x)
    if not words:
        asked = _say("text", rng, "nothing") if rng.random() < 0.3 else None
        first = NO_WORD
    elif len(words) == 2 and words[1].x - words[0].x < CLEAR:
        return None
    else:
        asked = _say("text", rng, " and ".join(word.text for word in words))
        first = len(scene.things) + scene.words.index(words[0])
    return asked and replace(asked, marks=((len(split(asked.text)) - 2, first),))


def _background(scene: Scene, rng: np.random.Generator) -> Question | None:
    if rng.random() < 0.5:
        return _say("pattern", rng, scene.texture)
    return _say("ground", rng, scene.ground)


def _caption(scene: Scene, rng: np.random.Generator) -> Question | None:
    named = [_a(f"{thing.color} {thing.shape}") for thing in scene.things]
    if len(named) == 1:
        what = named[0]
    elif len(named) == 2:
        dx, dy = scene.things[1].x - scene.things[0].x, scene.things[1].y - scene.things[0].y
        if abs(abs(dx) - abs(dy)) < CLEAR:
            return None
        first, second = named if (dx if abs(dx) > abs(dy) else dy) > 0 else named[::-1]
        what = f"{first} {'left of' if abs(dx) > abs(dy) else 'above'} {second}"
    else:
        what = f"{NUMBERS[len(named)]} things"
    return _say("caption", rng, f"{what} on a {scene.texture} background")


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


_ASK: dict[str, Callable[[Scene, np.random.Generator], Question | None]] = {
    "color": _color,
    "shape": _shape,
    "count": _count,
    "presence": _presence,
    "position": _position,
    "relation": _relation,
    "text": _text,
    "background": _background,
    "caption": _caption,
}
