"""Small panels, exact pixels: colours, states, outlines, hatches, and the order as an animation."""

from __future__ import annotations

import dataclasses

import av
import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from trimviz.draw import mask_picture, order_movie, raster, score_picture
from trimviz.draw.colour import GONE, KEPT, ORDER, SCORE, limits, mix, paint
from trimviz.draw.page import MORE, measure, wrap
from trimviz.types import Answer, Panel, Run, Stage

PHOTO = (100, 120, 140)
CELL = 8


def panel(token, content=None, colour=PHOTO):
    token = np.array(token)
    content = np.ones(token.shape, bool) if content is None else np.array(content, bool)
    size = (token.shape[1] * 4, token.shape[0] * 4)
    return Panel("image", Image.new("RGB", size, colour), token, content, (0, 0, *size))


def stage(kept, name="kept", order=None, owner=None, **scores):
    kept = np.array(kept, bool)
    told = np.where(kept, np.cumsum(kept) - 1, -1) if owner is None else np.array(owner)
    return Stage(name, 0, kept, told, None if order is None else np.array(order), scores)


def run(panels, stages):
    answer = Answer((1,), "yes", np.zeros(1, np.float32), True)
    alive = np.array([3, 3])
    return Run("some", {}, 2.0, answer, tuple(stages), alive, alive, {}, 1.0, 1, tuple(panels))


def luminance(colour):
    return np.dot(colour, [0.2126, 0.7152, 0.0722])


def test_limits_ignore_what_is_gone_and_span_all_arrays():
    assert limits(np.array([1.0, np.nan]), np.array([-2.0, np.inf])) == (-2.0, 1.0)
    with pytest.raises(ValueError, match="at least one finite value"):
        limits(np.array([np.nan]))


def test_paint_is_linear_between_its_ends():
    table = matplotlib.colormaps[SCORE]
    painted = paint(np.array([-5.0, -4.0, -3.0, np.nan]), -5.0, -3.0)
    for row, part in zip(painted[:3], (0.0, 0.5, 1.0), strict=True):
        assert tuple(row) == tuple(int(v) for v in table(part, bytes=True)[:3])
    assert tuple(painted[3]) == GONE
    assert len(np.unique(paint(np.ones(4), 1.0, 1.0), axis=0)) == 1


@pytest.mark.parametrize("name", [SCORE, ORDER])
def test_maps_get_lighter_with_the_value_so_that_greyscale_keeps_the_order(name):
    greys = luminance(paint(np.linspace(0, 1, 32), 0, 1, name))
    assert (np.diff(greys) > 0).all()


def test_states_tell_at_which_stage_each_token_left():
    stages = (stage([1, 1, 0, 1, 0]), stage([1, 0, 0, 0, 0]))
    shown = panel([[0, 1, 2], [3, 4, -1]])
    assert raster.states(shown, stages).tolist() == [[2, 1, 0], [1, 0, raster.EMPTY]]
    assert raster.states(shown, stages, upto=0).tolist() == [[2, 2, 0], [2, 0, raster.EMPTY]]
    told = raster.spread(np.arange(5.0), shown)
    assert told[:, :2].tolist() == [[0, 1], [3, 4]] and np.isnan(told[1, 2])


def test_mask_picture_pixel_by_pixel():
    stages = (stage([1, 1, 0]), stage([1, 0, 0]))
    pixels = np.asarray(mask_picture(panel([[0, 1, 2]]), stages, cell=CELL))
    assert pixels.shape == (CELL, 3 * CELL, 3)
    inner = pixels[1 : CELL - 1, 1 : CELL - 1].reshape(-1, 3)
    assert (inner == PHOTO).all(), "a kept cell is the photograph itself"
    assert (pixels[0, :CELL] == KEPT).all() and (pixels[:, CELL - 1] == KEPT).all()
    white = np.array([255, 255, 255])
    assert (pixels[:, CELL : 2 * CELL] == mix(white, np.array(PHOTO), raster.MID)).all()
    first = pixels[:, 2 * CELL :]
    on_line = np.add.outer(np.arange(CELL), np.arange(CELL)) == CELL - 1
    assert (first[~on_line] == mix(white, np.array(PHOTO), raster.STRONG)).all()
    assert (first[on_line] == 64).all()


def test_three_states_keep_apart_in_grey():
    stages = (stage([1, 1, 0]), stage([1, 0, 0]))
    for colour in ((0, 0, 0), PHOTO, (200, 60, 20)):
        pixels = np.asarray(mask_picture(panel([[0, 1, 2]], colour=colour), stages, cell=CELL).convert("L"), float)
        kept, mid, strong = (pixels[2, start + 2] for start in (0, CELL, 2 * CELL))
        assert mid - kept > 30 and strong - mid > 15
        assert pixels[:, 2 * CELL :].std() > 30, "the hatch shows"


def test_a_single_stage_is_not_hatched():
    pixels = np.asarray(mask_picture(panel([[0, 1]]), (stage([1, 0]),), cell=CELL))
    assert len(np.unique(pixels[:, CELL:].reshape(-1, 3), axis=0)) == 1


def test_padding_is_hatched_the_other_way_and_counted():
    shown = panel([[0, 1], [2, 3]], content=[[0, 0], [1, 1]])
    pixels = np.asarray(mask_picture(shown, (stage([1, 1, 1, 1]),), cell=CELL))
    assert (pixels[2, 2] == 64).all() and (pixels[2, 4] == PHOTO).all() and (pixels[CELL + 2, 2] == PHOTO).all()
    assert raster.padding([shown], 5).tolist() == [True, True, False, False, False]


def test_score_picture_colours_and_hatches_what_is_gone():
    values = np.array([0.0, 1.0, np.nan])
    pixels = np.asarray(score_picture(panel([[0, 1, 2]]), values, 0.0, 1.0, cell=CELL))
    assert (pixels[:, :CELL] == paint(np.array(0.0), 0, 1)).all()
    assert (pixels[:, CELL : 2 * CELL] == paint(np.array(1.0), 0, 1)).all()
    assert {tuple(p) for p in pixels[:, 2 * CELL :].reshape(-1, 3).tolist()} == {GONE, (64, 64, 64)}


def test_enlarging_repeats_pixels():
    photo = Image.fromarray(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8))
    shown = dataclasses.replace(panel([[0, 1]]), picture=photo)
    pixels = np.asarray(mask_picture(shown, (stage([1, 1]),), cell=CELL))[2:-2]
    assert (pixels[:, 2:CELL] == 0).all() and (pixels[:, CELL : 2 * CELL - 2] == 255).all()


@settings(max_examples=60, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=7)))
def test_outlines_enclose_exactly_the_cells(mask):
    area = 0
    for loop in raster.outline(mask):
        x, y = np.array([*loop, loop[0]], dtype=float).T
        area += (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2
    assert area == mask.sum()
    loops = [tuple(p) for loop in raster.outline(mask) for p in loop]
    padded = np.pad(mask, 1).astype(int)
    corners = padded[:-1, :-1] + padded[1:, 1:] + padded[:-1, 1:] + padded[1:, :-1]
    touching = (padded[:-1, :-1] == padded[1:, 1:]) & (padded[:-1, 1:] == padded[1:, :-1]) & (corners == 2)
    assert len(loops) == (corners % 2).sum() + 2 * touching.sum()


@settings(max_examples=60, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=7)), st.booleans())
def test_hatches_cross_every_cell_once(mask, falling):
    lines = raster.hatch(mask, falling)
    crossed = np.zeros(mask.shape, int)
    for (x0, y0), (x1, y1) in lines:
        for step in range(int(y1 - y0)):
            x, y = x0 + (step + 0.5) * (x1 - x0) / (y1 - y0), y0 + step + 0.5
            crossed[int(y), int(x)] += 1
    assert (crossed == mask).all()


def test_merged_groups_are_found_wherever_their_cells_are():
    shown = panel([[0, 1], [2, 3]])
    found = raster.groups(shown, np.array([0, 1, 1, -1]))
    assert [g.tolist() for g in found] == [[[False, True], [True, False]]]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=30), max_size=12), st.integers(40, 200), st.integers(1, 4))
def test_wrapped_lines_fit_and_nothing_is_lost_without_a_sign(words, width, most):
    lines = wrap([(" ".join(words), "")], width, most)
    assert len(lines) <= most
    for line in lines:
        assert sum(measure(w) for w, _ in line) + measure(" ") * (len(line) - 1) <= max(width, measure(MORE)) + 8
    whole = wrap([(" ".join(words), "")], width)
    assert lines == whole or any(word == MORE for word, _ in lines[-1])


def test_movie_brings_picks_to_light_in_their_order(tmp_path):
    order = np.array([2, -1, 0, 1])
    stages = (stage([1, 1, 1, 1]), stage([1, 0, 1, 1], order=order))
    colours = np.array([[[200, 0, 0], [0, 200, 0], [0, 0, 200], [90, 90, 0]]], np.uint8)
    shown = dataclasses.replace(panel([[0, 1, 2, 3]]), picture=Image.fromarray(colours))
    out = order_movie(run([shown], stages), tmp_path / "order.gif")
    with Image.open(out) as movie:
        assert movie.n_frames == 4
        centres = []
        for frame in range(4):
            movie.seek(frame)
            pixels = np.asarray(movie.convert("RGB"), int)
            cell = pixels.shape[1] // 4
            middle = pixels[cell // 2, cell // 2 :: cell][:4]
            centres.append((np.abs(middle - colours[0]).max(axis=1) < 12).tolist())
    assert np.array(centres).tolist() == [
        [False] * 4, [False, False, True, False], [False, False, True, True], [True, False, True, True],
    ]  # fmt: skip
    again = order_movie(run([shown], stages), tmp_path / "again.gif")
    assert out.read_bytes() == again.read_bytes()
    with pytest.raises(ValueError, match="no order"):
        order_movie(run([shown], stages[:1]), tmp_path / "order.gif")
    with pytest.raises(ValueError, match=r"\.gif or \.mp4"):
        order_movie(run([shown], stages), tmp_path / "order.avi")
    film = order_movie(run([shown], stages), tmp_path / "order.mp4")
    with av.open(str(film)) as file:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in file.decode(video=0)]
        assert file.streams.video[0].codec_context.name == "h264"
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0
    middle = frames[-1][cell // 2, cell // 2 :: cell][:4]
    assert (np.abs(middle - colours[0]).max(axis=1) < 60).tolist() == centres[-1], "the last picture is the same"
    assert film.read_bytes() == order_movie(run([shown], stages), tmp_path / "again.mp4").read_bytes()
