"""Draws the little world: a seed gives one scene, its picture, and what every pixel belongs to."""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 336  # pixels; 24 x 24 patches of 14
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "moon", "arrow", "bar")
COLORS = {
    "red": (214, 24, 34),
    "orange": (255, 140, 0),
    "yellow": (252, 232, 40),
    "green": (24, 140, 44),
    "cyan": (48, 218, 224),
    "blue": (28, 54, 214),
    "purple": (120, 28, 166),
    "pink": (255, 128, 194),
    "white": (252, 252, 252),
    "black": (14, 14, 16),
}
SIZES = {"small": (12, 15), "big": (27, 36)}  # radius in pixels, inclusive
TEXTURES = ("plain", "striped", "dotted", "checkered", "speckled")
GROUNDS = {
    "gray": (138, 138, 138),
    "tan": (188, 160, 118),
    "olive": (116, 122, 68),
    "slate": (92, 114, 144),
    "mauve": (156, 112, 138),
}
WORDS = (
    "cat", "dog", "sun", "hat", "tea", "box", "key", "map", "pen", "cup", "bus", "fox", "jam", "owl", "zoo", "ice",
)  # fmt: skip

# Scenes are numbered by their seed, and each split owns a range of seeds.
SPLITS = {
    "train": range(10**9),  # learned from
    "tune": range(10**9, 2 * 10**9),  # watched while training, and used to choose a checkpoint
    "test": range(2 * 10**9, 3 * 10**9),  # held out: only `evaluate` draws these
}


@dataclass(frozen=True)
class Thing:
    shape: str
    color: str
    size: str
    x: int  # centre, pixels from the left
    y: int  # centre, pixels from the top
    radius: int
    angle: float  # degrees
    rgb: tuple[int, int, int]


@dataclass(frozen=True)
class Word:
    text: str
    x: int  # centre
    y: int
    width: int
    height: int
    dark: bool  # black on white, or white on black


@dataclass(frozen=True)
class Scene:
    seed: int
    texture: str
    ground: str
    angle: float  # of the texture, degrees
    period: int  # of the texture, pixels
    contrast: int  # between the two tones of the texture
    rgb: tuple[int, int, int]
    things: tuple[Thing, ...]
    words: tuple[Word, ...]


def seeds(split: str, key: int, n: int) -> list[int]:
    """n scene seeds of a split, drawn by `key`."""
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}: expected one of {', '.join(SPLITS)}.")
    span = SPLITS[split]
    return [int(seed) for seed in np.random.default_rng(key).integers(span.start, span.stop, size=n)]


def scene(seed: int, most: int = 6, words: int = 2) -> Scene:
    """The scene of a seed: 1 to `most` things and 0 to `words` printed words, with little or no overlap."""
    rng = np.random.default_rng(seed)
    texture = str(rng.choice(TEXTURES))
    ground = str(rng.choice(list(GROUNDS)))
    boxes: list[tuple[float, float, float, float]] = []  # taken: centre x, y, half width, half height
    things: list[Thing] = []
    for _ in range(int(rng.integers(1, most + 1))):
        shape, color = str(rng.choice(SHAPES)), str(rng.choice(list(COLORS)))
        size = str(rng.choice(list(SIZES)))
        if things and rng.random() < 0.45:  # a near twin, so that one word is not always enough
            twin = things[int(rng.integers(len(things)))]
            part = rng.integers(3)
            shape, color = twin.shape if part != 1 else shape, twin.color if part != 0 else color
        radius = int(rng.integers(SIZES[size][0], SIZES[size][1] + 1))
        spot = _spot(rng, boxes, radius, radius)
        if spot is None:
            continue
        rgb = _near(COLORS[color], rng.integers(-12, 13, size=3))
        things.append(Thing(shape, color, size, *spot, radius, float(rng.uniform(-30, 30)), rgb))
        boxes.append((*spot, radius, radius))
    written: list[Word] = []
    for text in rng.choice(WORDS, size=int(rng.choice(3, p=(0.4, 0.35, 0.25))), replace=False)[:words]:
        width, height = _extent(str(text))
        spot = _spot(rng, boxes, width / 2, height / 2)
        if spot is None:
            continue
        written.append(Word(str(text), *spot, width, height, bool(rng.random() < 0.5)))
        boxes.append((*spot, width / 2, height / 2))
    rgb = _near(GROUNDS[ground], rng.integers(-8, 9, size=3))
    angle, period, contrast = float(rng.uniform(0, 180)), int(rng.integers(14, 25)), int(rng.integers(26, 41))
    return Scene(seed, texture, ground, angle, period, contrast, rgb, tuple(things), tuple(written))


def paint(scene: Scene) -> tuple[Image.Image, np.ndarray]:
    """The picture, and its owners: (336, 336) uint8, 0 for the background, i for things[i - 1], then the words."""
    picture = Image.fromarray(_background(scene))
    owner = np.zeros((SIDE, SIDE), np.uint8)
    for number, thing in enumerate(scene.things, 1):
        mask = _silhouette(thing.shape, thing.radius, thing.angle)
        left, top = thing.x - mask.width // 2, thing.y - mask.height // 2
        picture.paste(thing.rgb, (left, top), mask)
        owner[top : top + mask.height, left : left + mask.width][np.asarray(mask) > 127] = number
    for number, word in enumerate(scene.words, 1 + len(scene.things)):
        left, top = word.x - word.width // 2, word.y - word.height // 2
        plate = _plate(word.text, word.dark)
        picture.paste(plate, (left, top))
        owner[top : top + plate.height, left : left + plate.width] = number
    return picture, owner


def _near(rgb: tuple[int, int, int], jitter: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = np.clip(np.add(rgb, jitter), 0, 255).tolist()
    return red, green, blue


def _spot(rng: np.random.Generator, boxes: list, half_width: float, half_height: float) -> tuple[int, int] | None:
    margin = 4
    for _ in range(40):
        x = int(rng.integers(math.ceil(half_width) + margin, SIDE - math.ceil(half_width) - margin))
        y = int(rng.integers(math.ceil(half_height) + margin, SIDE - math.ceil(half_height) - margin))
        if all(
            abs(x - bx) > half_width + bw + margin or abs(y - by) > half_height + bh + margin
            for bx, by, bw, bh in boxes
        ):
            return x, y
    return None


@cache
def _grid() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    return x, y


def _background(scene: Scene) -> np.ndarray:
    x, y = _grid()
    angle, half = math.radians(scene.angle), scene.period / 2
    if scene.texture == "plain":
        tone = np.full((SIDE, SIDE), 0.5, np.float32)
    elif scene.texture == "striped":
        tone = (np.floor((x * math.cos(angle) + y * math.sin(angle)) / half) % 2).astype(np.float32)
    elif scene.texture == "checkered":
        tone = ((np.floor((x + 3 * scene.angle) / half) + np.floor(y / half)) % 2).astype(np.float32)
    elif scene.texture == "dotted":
        dx, dy = (x + scene.angle) % scene.period - half, (y + scene.angle) % scene.period - half
        tone = (dx * dx + dy * dy < (0.3 * scene.period) ** 2).astype(np.float32)
    else:
        grains = np.random.default_rng(scene.seed).random((SIDE // 4, SIDE // 4), np.float32)
        tone = grains.repeat(4, 0).repeat(4, 1)
    shade = ((tone - 0.5) * scene.contrast)[..., None] + np.asarray(scene.rgb, np.float32)
    return np.clip(shade, 0, 255).astype(np.uint8)


def _polygon(shape: str) -> list[tuple[float, float]] | None:
    """Corners in the unit circle, x to the right and y down; None for shapes made of circles."""

    def spokes(radii: list[float]) -> list[tuple[float, float]]:
        turn = 2 * math.pi / len(radii)
        return [(r * math.sin(i * turn), -r * math.cos(i * turn)) for i, r in enumerate(radii)]

    if shape == "square":
        return [(-0.78, -0.78), (0.78, -0.78), (0.78, 0.78), (-0.78, 0.78)]
    if shape == "triangle":
        return spokes([1, 1, 1])
    if shape == "star":
        return spokes([1, 0.42] * 5)
    if shape == "cross":
        a, b = 0.3, 0.95
        arm = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a)]
        return [*arm, *((-x, -y) for x, y in arm)]
    if shape == "arrow":
        return [(-1, -0.28), (0.05, -0.28), (0.05, -0.8), (1, 0), (0.05, 0.8), (0.05, 0.28), (-1, 0.28)]
    if shape == "bar":
        return [(-1, -0.3), (1, -0.3), (1, 0.3), (-1, 0.3)]
    if shape == "heart":
        turns = np.linspace(0, 2 * math.pi, 40, endpoint=False)
        xs = np.sin(turns) ** 3
        ys = -(13 * np.cos(turns) - 5 * np.cos(2 * turns) - 2 * np.cos(3 * turns) - np.cos(4 * turns)) / 16
        return list(zip(xs.tolist(), ys.tolist(), strict=True))
    return None


def _silhouette(shape: str, radius: int, angle: float) -> Image.Image:
    side, scale = 2 * radius + 2, 2  # drawn twice as large, then halved: smooth edges
    mask = Image.new("L", (side * scale, side * scale))
    draw, middle, reach = ImageDraw.Draw(mask), side * scale / 2, radius * scale
    corners, turn = _polygon(shape), math.radians(angle)

    def disc(x: float, y: float, r: float, fill: int) -> None:
        x, y = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
        cx, cy, r = middle + x * reach, middle + y * reach, r * reach
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=fill)

    if corners is not None:
        cos, sin = math.cos(turn), math.sin(turn)
        draw.polygon(
            [(middle + (x * cos - y * sin) * reach, middle + (x * sin + y * cos) * reach) for x, y in corners], fill=255
        )
    elif shape == "circle":
        disc(0, 0, 0.9, 255)
    elif shape == "ring":
        disc(0, 0, 0.98, 255)
        disc(0, 0, 0.5, 0)
    elif shape == "moon":
        disc(0, 0, 0.98, 255)
        disc(0.5, 0, 0.75, 0)
    else:
        raise ValueError(f"Unknown shape {shape!r}: expected one of {', '.join(SHAPES)}.")
    return mask.reduce(scale)


@cache
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"), 15)


@cache
def _plate(text: str, dark: bool) -> Image.Image:
    ink, paper = ((16, 16, 16), (244, 244, 244)) if dark else ((244, 244, 244), (16, 16, 16))
    left, _, right, _ = _font().getbbox(text)
    plate = Image.new("RGB", (int(right - left) + 8, 22), paper)
    ImageDraw.Draw(plate).text((4 - left, 11), text, font=_font(), fill=ink, anchor="lm")
    return plate


def _extent(text: str) -> tuple[int, int]:
    return _plate(text, True).size
