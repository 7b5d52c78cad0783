"""What each family shows of a picture: each token's pixels in its cell, every token in one cell, honest counts."""

from __future__ import annotations

from copy import deepcopy
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import FAMILIES, FILMED, QUESTION, SIDE, TEMPLATE, clip_of, llava, llava_next, llava_onevision, picture
from transformers import (
    Idefics3Processor,
    LlavaImageProcessorPil,
    LlavaNextVideoProcessor,
    LlavaOnevisionProcessor,
    Qwen2_5_VLProcessor,
    Qwen2VLProcessor,
    SmolVLMProcessor,
)
from transformers.models.llava_onevision.modeling_llava_onevision import unpad_image
from transformers.models.smolvlm.processing_smolvlm import DEFAULT_CHAT_TEMPLATE
from transformers.video_utils import VideoMetadata

import trimviz
from trimviz.models.parts import Parts
from trimviz.pruners import PRUNERS
from trimviz.types import Panel, Video
from trimviz.video import frames_of

SIZES = {"square": (120, 120), "wide": (310, 90), "tall": (70, 205), "tiny": (9, 7), "huge": (1500, 1130)}


@cache
def padded():
    """LLaVA-1.5 with pictures padded to a square instead of cropped to one."""
    model = llava()
    images = LlavaImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, do_pad=True, do_center_crop=True
    )
    return type(model)("padded", model.core, Parts(model.tokenizer, images, TEMPLATE, "<image>"))


FRAMED = FAMILIES | {
    "llava, padded": padded,
    "llava_next, paper": partial(llava_next, tiling="paper"),
    "llava_onevision, shrunk": partial(llava_onevision, most=1),
    "llava_onevision, odd tiles": partial(llava_onevision, side=89),  # five pixels of a tile are in no patch
}


@cache
def blinkered(family: str):
    """The family with a tower whose patches do not see each other: a token then depends on its own pixels alone."""
    model = FRAMED[family]()
    core = deepcopy(model.core)
    muted = [p for name, p in core.model.named_parameters() if is_mixing(name)]
    assert muted
    with torch.no_grad():
        for p in muted:
            p.zero_()
    return type(model)(model.repo, core, model.processor, **model.settings)


def is_mixing(name: str) -> bool:
    tower = name.startswith(("vision_tower.", "visual.", "vision_model."))
    return tower and name.endswith(("self_attn.out_proj.weight", "attn.proj.weight"))


def noise(size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(1)
    return Image.fromarray(rng.integers(80, 170, (size[1], size[0], 3), dtype=np.uint8))


def cell_box(panel: Panel, row: int, col: int) -> tuple[float, float, float, float]:
    """A cell in the original's pixels."""
    rows, cols = panel.token.shape
    left, top, right, bottom = panel.box
    wide, high = (right - left) / cols, (bottom - top) / rows
    return (left + col * wide, top + row * high, left + (col + 1) * wide, top + (row + 1) * high)


def mark(image: Image.Image, box: tuple[float, float, float, float]) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """The picture with the middle of a box painted, at least one pixel of it; and where that is."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half = [max(0.5, (box[i + 2] - box[i]) / 4) for i in (0, 1)]
    left, top = max(0, round(x - half[0])), max(0, round(y - half[1]))
    left, top = min(left, image.width - 1), min(top, image.height - 1)
    right, bottom = (
        min(image.width, max(left + 1, round(x + half[0]))),
        min(image.height, max(top + 1, round(y + half[1]))),
    )
    painted = image.copy()
    painted.paste((255, 0, 255), (left, top, right, bottom))
    return painted, (left, top, right, bottom)


def visual_tokens(look) -> torch.Tensor:
    return look.tokens if look.newline is None else look.tokens[look.newline < 0]


def overlap(a, b) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("family", FRAMED)
def test_a_marker_in_a_cell_is_found_in_the_token_of_that_cell(family, size):
    model, image = blinkered(family), noise(size)
    plain = model.look([image])
    before = visual_tokens(plain)
    rng = np.random.default_rng(0)
    for panel in plain.panels:
        inside = np.argwhere(panel.content & (panel.token >= 0))
        for row, col in inside[rng.choice(len(inside), min(4, len(inside)), replace=False)]:
            box = cell_box(panel, row, col)
            middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            if not (0 <= middle[0] < size[0] and 0 <= middle[1] < size[1]):
                continue  # the cell is mostly padding
            painted, where = mark(image, box)
            moved = (visual_tokens(model.look([painted])) - before).norm(dim=-1).numpy()
            change = np.where(panel.token >= 0, moved[panel.token], -1)
            found = np.unravel_index(change.argmax(), change.shape)
            near = (
                where[0] - 1,
                where[1] - 1,
                where[2] + 1,
                where[3] + 1,
            )  # resizing blurs a pixel into its neighbours
            assert overlap(cell_box(panel, *found), near), (panel.name, (row, col), found)
            if min(box[2] - box[0], box[3] - box[1]) >= 4:  # the marker lies inside a single cell
                assert found == (row, col), (panel.name, (row, col), found)


@pytest.mark.parametrize("family", FILMED)
def test_a_marker_in_a_frame_is_found_in_the_token_of_that_frame(family):
    model, size = blinkered(family), (160, 120)
    frames = [noise(size)] * 5
    plain = model.look([frames_of(frames)])
    before = visual_tokens(plain)
    per = len(frames) / len(plain.panels)
    for f in range(len(frames)):
        number = int(f // np.ceil(per))
        panel = plain.panels[number]
        assert str(f + 1) in panel.name
        row, col = 1, panel.token.shape[1] - 1
        painted, _ = mark(frames[f], cell_box(panel, row, col))
        moved = (visual_tokens(model.look([frames_of([*frames[:f], painted, *frames[f + 1 :]])])) - before).norm(dim=-1)
        assert int(moved.argmax()) == panel.token[row, col]
        assert int(plain.vision.tile[panel.token[row, col]]) == number


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("family", FRAMED)
def test_each_panel_shows_its_box_of_the_picture(family, size):
    """A gradient tells for every cell which of the original's pixels are in it."""
    width, height = size
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    ramp = np.stack([x, y, np.ones_like(x)], axis=-1) * 255
    image = Image.fromarray(ramp.round().astype(np.uint8))
    for panel in FRAMED[family]().look([image]).panels:
        shown = np.asarray(panel.picture).astype(float)
        rows, cols = panel.token.shape
        high, wide = shown.shape[0] // rows, shown.shape[1] // cols
        assert shown.shape[:2] == (rows * high, cols * wide)
        for row, col in np.argwhere(panel.content):
            left, top, right, bottom = cell_box(panel, row, col)
            if left < 0 or top < 0 or right > width or bottom > height:
                continue  # partly padding, whose colour is not the picture's
            middle = shown[row * high + high // 2 - 1 :, col * wide + wide // 2 - 1 :][:2, :2].mean(axis=(0, 1))
            # Within a pixel of the original or of what the model sees, and what eight bits can tell.
            near = max(1.0, (right - left) / wide) + width / 255, max(1.0, (bottom - top) / high) + height / 255
            if "odd" in family and panel.name == "tiles":  # five of the model's pixels a tile are in no patch
                near = near[0] + 2.5 * (right - left) / wide, near[1] + 2.5 * (bottom - top) / high
            assert abs(middle[0] / 255 * width - (left + right) / 2) < near[0], (panel.name, row, col)
            assert abs(middle[1] / 255 * height - (top + bottom) / 2) < near[1], (panel.name, row, col)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_shrunk_tokens_divide_the_unpadded_patches_evenly(size):
    model, high_wide = llava_onevision(most=1), size[::-1]
    tiling = model.tiling(high_wide)
    (layout,) = model.layouts([tiling], [1 + tiling[0] * tiling[1]], torch.tensor([high_wide]))
    patches = torch.meshgrid(*(torch.arange(tiles * model.grid) for tiles in tiling), indexing="ij")
    middles = []
    for axis, shown in enumerate(unpad_image(torch.stack(patches), high_wide)):
        first, last, count = int(shown.min()), int(shown.max()) + 1, (layout.rows, layout.cols)[axis]
        assert layout.extent(axis) == pytest.approx((first, last))
        middles.append(first + (np.arange(count) + 0.5) * (last - first) / count)
    found = layout.centre[layout.visual][layout.overview :].numpy()
    np.testing.assert_allclose(found, np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1).reshape(-1, 2))


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("family", [f for f in FRAMED if f != "llava, padded"])
def test_cells_without_content_are_black_and_the_others_are_not(family, size):
    for panel in FRAMED[family]().look([Image.new("RGB", size, "white")]).panels:
        shown = np.asarray(panel.picture).max(axis=-1)
        rows, cols = panel.token.shape
        cells = shown.reshape(rows, shown.shape[0] // rows, cols, -1).max(axis=(1, 3))
        assert (panel.content == (cells > 0)).all(), panel.name


def test_padding_to_a_square_is_told_from_content():
    image = Image.new("RGB", (200, 60), "white")
    (panel,) = padded().look([image]).panels
    assert panel.box == (0, -70, 200, 130)
    colour = np.asarray(panel.picture).astype(int)
    cells = colour.reshape(6, SIDE // 6, 6, SIDE // 6, 3)
    for row, col in np.ndindex(6, 6):
        assert panel.content[row, col] == (cells[row, :, col].max() > 200)
    assert panel.content.sum() == 2 * 6


def test_the_crop_of_a_wide_picture_is_told():
    (panel,) = llava().look([Image.new("RGB", (300, 100))]).panels
    left, top, right, bottom = panel.box
    assert (top, bottom) == (0, 100) and right - left == pytest.approx(100) and left == pytest.approx(100)
    (panel,) = llava().look([Image.new("RGB", (100, 300))]).panels
    assert panel.box[1] == pytest.approx(100) and panel.content.all()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("family", FRAMED)
def test_every_visual_token_is_in_one_cell_and_every_other_is_a_newline(family, size, count):
    model = FRAMED[family]()
    look = model.look([picture(*size), picture(50, 40)][:count])
    prompt = model.prompt(look, QUESTION)
    cells = np.concatenate([panel.token.ravel() for panel in look.panels])
    assert sorted(cells[cells >= 0]) == list(range(prompt.n))
    newlines = int((prompt.newline >= 0).sum())
    assert prompt.n + newlines == sum(look.counts) == len(look.tokens)
    assert not (prompt.visual & (prompt.newline >= 0)).any()
    assert len({panel.name for panel in look.panels}) == len(look.panels)
    for name in ("features", "tile", "keys", "cls_attention"):
        values = getattr(look.vision, name)
        assert values is None or len(values) == prompt.n
    assert {name for name in model.provides if getattr(look.vision, name) is None} == set()
    if look.vision.line is not None and newlines:
        ended = prompt.newline[prompt.newline >= 0]
        assert ended.tolist() == list(range(newlines))
        assert set(look.vision.line.tolist()) - {-1} == set(range(newlines))
        # A newline follows the last visual token of its row.
        places = prompt.visual.nonzero()[:, 0]
        for row, place in zip(ended.tolist(), (prompt.newline >= 0).nonzero()[:, 0].tolist(), strict=True):
            assert int(places[look.vision.line == row].max()) == place - 1


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_paper_mode_has_five_full_tiles_and_no_newline(size):
    model = llava_next(tiling="paper")
    look = model.look([picture(*size)])
    assert look.counts == (5 * model.grid**2,) and (look.newline < 0).all()
    overview, tiles = look.panels
    grid = model.grid
    assert (overview.token == np.arange(grid**2).reshape(grid, grid)).all()
    assert (tiles.token == np.arange(grid**2, 5 * grid**2).reshape(2 * grid, 2 * grid)).all()
    assert tiles.content.all() == (size[0] == size[1])


def expected_ids(model, pictures):
    """Ids by the official processor, or by its own words for a picture where it cannot be built without torchvision."""
    kind = "video" if isinstance(pictures[0], Video) else "image"
    content = [*({"type": kind} for _ in pictures), {"type": "text", "text": QUESTION}]
    # The official processor has a template of its own for videos where a person names none.
    own = {"chat_template": DEFAULT_CHAT_TEMPLATE} if (model.model_type, kind) == ("smolvlm", "video") else {}
    text = (model.tokenizer if own else model.processor).apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False, **own
    )
    if not isinstance(model.processor, Parts):
        return model.processor(images=pictures, text=text, return_tensors="pt")["input_ids"][0].tolist()
    inputs, parts = model.look(pictures).inputs, model.processor
    official = {
        "llava_next_video": LlavaNextVideoProcessor,
        "llava_onevision": LlavaOnevisionProcessor,
        "qwen2_vl": Qwen2VLProcessor,
        "qwen2_5_vl": Qwen2_5_VLProcessor,
        "idefics3": Idefics3Processor,
        "smolvlm": SmolVLMProcessor,
    }[model.model_type]
    stand_in = SimpleNamespace(
        image_processor=parts.image_processor,
        video_processor=parts.image_processor,
        image_token=parts.image_token,
        video_token=parts.video_token,
        patch_size=getattr(model.core.config.vision_config, "patch_size", None),
        num_additional_image_tokens=1,
        num_image_tokens=36,
        vision_aspect_ratio=getattr(model.core.config, "vision_aspect_ratio", None),
        vision_feature_select_strategy=getattr(model.core.config, "vision_feature_select_strategy", None),
        fake_image_token="<fake_token_around_image>",
        global_image_tag="<global-img>",
        global_image_token="<global-img>",
        image_seq_len=9,
    )
    if model.model_type == "smolvlm" and kind == "video":
        clips = [
            VideoMetadata(len(v.frames), fps=2, duration=None, frames_indices=range(len(v.frames))) for v in pictures
        ]
        inputs |= {"video_metadata": clips}
    if "tilings" in inputs:
        inputs |= {"rows": [[r for r, _ in inputs["tilings"]]], "cols": [[c for _, c in inputs["tilings"]]]}
    for name in ("_get_number_of_features", "_get_unpadded_features"):
        if hasattr(official, name):
            setattr(stand_in, name, partial(getattr(official, name), stand_in))
    replace = getattr(official, f"replace_{kind}_token")
    token = parts.video_token if kind == "video" else parts.image_token
    pieces = text.split(token)
    for b in range(len(pictures)):
        pieces[b] += replace(stand_in, inputs, b)
    return model.tokenizer("".join(pieces))["input_ids"]


@pytest.mark.parametrize("size", [(100, 84), (310, 90), (70, 205)])
@pytest.mark.parametrize("family", FAMILIES)
def test_prompt_ids_are_the_official_processors(family, size):
    model = FAMILIES[family]()
    pictures = [picture(*size)]
    assert model.encode(pictures, QUESTION).ids.tolist() == expected_ids(model, pictures)


@pytest.mark.parametrize("frames", [1, 4, 5])
@pytest.mark.parametrize("family", FILMED)
def test_prompt_ids_for_a_video_are_the_official_processors(family, frames):
    model = FILMED[family]()
    videos = [clip_of(frames)]
    assert model.encode(videos, QUESTION).ids.tolist() == expected_ids(model, videos)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_positions_on_three_axes(family):
    model = FAMILIES[family]()
    prompt = model.encode(picture(112, 84), QUESTION)  # 3 rows of 4 cells
    first = int(prompt.visual.nonzero()[0, 0])
    own = prompt.positions[:, prompt.visual] - first
    assert own[0].tolist() == [0] * 12
    assert own[1].tolist() == [row for row in range(3) for _ in range(4)]
    assert own[2].tolist() == list(range(4)) * 3
    after = prompt.positions[:, first + 12 :]
    assert (after == torch.arange(after.shape[1]) + first + 4).all()  # behind the longer side


def test_time_counts_in_seconds_where_the_family_does():
    model = FAMILIES["qwen2_5_vl"]()
    slow, fast = (frames_of(clip_of(6).frames, [i * step for i in range(6)]) for step in (2.0, 0.5))
    rate = model.core.config.vision_config.tokens_per_second
    for video, step in ((slow, 2.0), (fast, 0.5)):
        prompt = model.encode(video, QUESTION)
        time = prompt.positions[0, prompt.visual].unique()
        assert (time - time[0]).tolist() == [int(i * 2 * step * rate) for i in range(3)]


def test_frames_are_shown_as_the_model_saw_them():
    video = clip_of(3, 112, 84)
    for family, names in (
        ("llava_next_video", ["frame 1", "frame 2", "frame 3"]),
        ("qwen2_vl", ["frames 1 and 2", "frame 3"]),
    ):
        panels = FAMILIES[family]().look([video]).panels
        assert [panel.name for panel in panels] == names
    two = FAMILIES["qwen2_vl"]().look([video, video]).panels
    assert [panel.name for panel in two][-1] == "video 2, frame 3"


def test_what_cannot_be_asked_is_said_in_a_sentence():
    with pytest.raises(ValueError, match=r"LLaVA-1\.5 looks at pictures, not at videos"):
        llava().encode(clip_of(2), QUESTION)
    with pytest.raises(ValueError, match="cannot be mixed"):
        FAMILIES["qwen2_vl"]().encode([picture(), clip_of(2)], QUESTION)
    with pytest.raises(ValueError, match="no picture"):
        llava().encode([], QUESTION)
    with pytest.raises(ValueError, match="tokens and the model takes"):
        FAMILIES["llava_next_video"]().encode(clip_of(200), QUESTION)
    with pytest.raises(ValueError, match=r"holds '<\|video_pad\|>'"):
        FAMILIES["qwen2_vl"]().encode(picture(), "what <|video_pad|> ?")


def test_every_family_is_listed_with_its_facts():
    from trimviz import MODELS

    assert {type(make()).model_type for make in FAMILIES.values()} == set(MODELS)
    for family in MODELS.values():
        assert family.name and family.checkpoints and family.tokens
        assert any(not method.needs - family.provides for method in PRUNERS.values())


ANSWERS = "{% else %}assistant: {{ m['content'][0]['text'] }} {% endif %}{% endfor %}{% if add"
TURNS = TEMPLATE.replace("{% endif %}{% endfor %}{% if add", ANSWERS)


def test_a_second_turn_stands_behind_the_first():
    model = llava()
    talking = type(model)(
        "talking", model.core, Parts(model.tokenizer, model.processor.image_processor, TURNS, "<image>")
    )
    look = talking.look([picture()])
    first, second = (talking.prompt(look, QUESTION, before) for before in ((), [(QUESTION, "red")]))
    assert second.text == first.text.removesuffix("assistant:") + f"assistant: red user: {QUESTION} assistant:"
    assert second.n == first.n and torch.equal(second.ids[: len(first.ids)], first.ids)
    words = model.tokenizer.decode(second.ids[second.question])
    assert words == QUESTION and int(second.question.nonzero()[0]) > len(first.ids)
    result = trimviz.compare(talking, picture(), QUESTION, keep=9, limit=3, before=[(QUESTION, "red")])
    assert result.prompt == second.text


def test_a_second_turn_that_the_template_cannot_write_is_refused_in_a_sentence():
    model = llava()
    with pytest.raises(ValueError, match="leaves out earlier answers; ask one question"):
        model.encode(picture(), QUESTION, [(QUESTION, "red")])
    bare = type(model)("bare", model.core, Parts(model.tokenizer, model.processor.image_processor, None, "<image>"))
    with pytest.raises(ValueError, match="no chat template to write earlier turns with"):
        bare.encode(picture(), QUESTION, [(QUESTION, "red")])
