"""The published settings as schedules: 192, 128 and 64 of 576 tokens, 720, 640 and 320 of 2,880, in 32 layers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from views import view, vision

from trimviz.pruners import PRUNERS
from trimviz.pruners.pooling import shape
from trimviz.select import entering, quotas, share, spent

SMALL, LARGE = 576, 2880
LAYERS, TOWER = 32, 23  # the tower has 24, and the output of the last but one is used
BUDGETS = [(SMALL, 192), (SMALL, 128), (SMALL, 64), (LARGE, 720), (LARGE, 640), (LARGE, 320)]
INSIDE = ["fastv", "sparsevlm", "pyramiddrop", "vtw"]


def schedule(method, n, budget, layers=LAYERS, **knobs):
    return PRUNERS[method](**knobs).schedule(layers, n, budget)


@pytest.mark.parametrize(("n", "budget"), BUDGETS)
def test_methods_at_the_door_keep_the_budget(n, budget):
    for key, method in PRUNERS.items():
        if key not in INSIDE:
            assert method().schedule(LAYERS, n, budget) == {0: budget}


@pytest.mark.parametrize(("n", "n1"), [(SMALL, 460), (LARGE, 2304)])
def test_first_stages(n, n1):
    assert share(PRUNERS["trimtokenator"]().n1, n) == share(PRUNERS["divprune-star"]().n1, n) == n1


@pytest.mark.parametrize(
    ("layers", "n", "budget", "layer", "kept"),
    [
        (32, SMALL, 192, 2, 166), (32, SMALL, 128, 2, 98), (32, SMALL, 64, 2, 30),
        (32, SMALL, 192, 3, 152), (32, SMALL, 128, 3, 82), (32, SMALL, 64, 3, 11),
        (32, LARGE, 720, 2, 576), (32, LARGE, 640, 2, 491), (32, LARGE, 320, 2, 149), (32, LARGE, 288, 2, 115),
        (40, SMALL, 192, 2, 172), (40, SMALL, 128, 2, 104), (40, SMALL, 64, 2, 37),
    ],
)  # fmt: skip
def test_fastv(layers, n, budget, layer, kept):
    told = schedule("fastv", n, budget, layers, layer=layer)
    assert told == {layer: kept}
    assert abs(spent(told, layers, n, "input") - budget) <= 0.5
    assert schedule("fastv", n, budget, layers, layer=layer, count="final") == {layer: budget}


@pytest.mark.parametrize(
    ("nominal", "true", "published", "counts"),
    [
        (192, 192.03, (300, 200, 110), {3: 309, 7: 204, 16: 113}),
        (128, 128.6, (303, 110, 36), {3: 312, 7: 117, 16: 39}),
        (64, 64.8, (66, 30, 17), {3: 82, 7: 32, 16: 18}),
    ],
)
def test_sparsevlm_as_published_is_more_than_it_says(nominal, true, published, counts):
    """The published lists meet their budgets by tokens that leave a layer; by those that enter, they cost more."""
    told = schedule("sparsevlm", SMALL, true, count="output")
    assert told == counts
    assert spent(told, LAYERS, SMALL, "output") == pytest.approx(true, abs=0.03)
    assert spent(told, LAYERS, SMALL, "input") > nominal + 14
    scores, left = torch.rand(SMALL), SMALL
    for depth, kept in zip(counts, published, strict=True):
        text = torch.randn(3, 4)
        visual = torch.randn(left, 4)
        seen = view(
            visual,
            text,
            depth=depth,
            attention=lambda r, s=scores[:left]: s.expand(2, len(r), -1),
            door=view(visual, text),
        )
        cut = PRUNERS["sparsevlm"]().cut(seen, counts[depth])
        alone = (cut.anchor.diff() > 0).long().cumprod(0).sum() + 1  # the kept come in order, then the merged
        assert abs(int(alone) - kept) <= counts[depth] - kept
        assert len(cut.anchor) == counts[depth]
        left = counts[depth]


@pytest.mark.parametrize(("n", "budget"), BUDGETS)
def test_sparsevlm_meets_the_mean_at_the_input(n, budget):
    assert spent(schedule("sparsevlm", n, budget), LAYERS, n, "input") == pytest.approx(budget, abs=0.5)


@pytest.mark.parametrize(
    ("n", "budget", "ratio"),
    [(*case, ratio) for case, ratio in zip(BUDGETS, (0.582, 0.438, 0.198, 0.479, 0.438, 0.197), strict=True)],
)
def test_pyramiddrop(n, budget, ratio):
    told = schedule("pyramiddrop", n, budget)
    assert list(told) == [2, 8, 16, 24]
    for power, left in enumerate(told.values(), start=1):
        assert left / n == pytest.approx(ratio**power, abs=0.003)
    assert spent(told, LAYERS, n, "input") == pytest.approx(budget, abs=0.5)
    assert list(schedule("pyramiddrop", n, budget, 40)) == [2, 10, 20, 30]


def test_pyramiddrop_as_published_cannot_go_below_a_quarter():
    told = schedule("pyramiddrop", SMALL, 270, boundaries="three")
    assert list(told) == [8, 16, 24]
    assert list(told.values()) == pytest.approx([288, 144, 72], abs=2)
    with pytest.raises(ValueError, match=r"144\.0"):
        schedule("pyramiddrop", SMALL, 128, boundaries="three")


@pytest.mark.parametrize(
    ("budget", "layer", "true"),
    [(192, 11, 198), (128, 7, 126), (64, 4, 72), (720, 8, 720), (640, 7, 630), (320, 4, 360)],
)
def test_vtw(budget, layer, true):
    n = SMALL if budget < 200 else LARGE
    told = schedule("vtw", n, budget)
    assert told == {layer: 0}
    assert spent(told, LAYERS, n, "input") == true
    assert schedule("vtw", n, budget, layer=15) == {15: 0}


@pytest.mark.parametrize(
    ("budget", "merged"),
    [(192, {17: 16, 16: 7}), (128, {20: 11, 19: 12}), (64, {23: 6, 22: 17}), (144, {19: 18, 18: 5})],
)
def test_tome(budget, merged):
    """Per tile: 144, 128 and 64 are the tiles of 720, 640 and 320."""
    told = PRUNERS["tome"]().early(TOWER, SMALL, budget)
    assert list(told) == list(range(-TOWER, 0))
    assert Counter(a - b for a, b in pairwise([SMALL, *told.values()])) == merged
    assert told[-1] == budget


def test_tome_merges_earlier_where_the_last_layers_cannot():
    told = PRUNERS["tome"]().early(4, SMALL, 40)
    counts = [SMALL, *told.values()]
    assert counts[-1] == 40
    assert all(b >= -(-a // 2) for a, b in pairwise(counts))
    with pytest.raises(ValueError, match="from 576 to 36"):
        PRUNERS["tome"]().early(4, SMALL, 30)


def test_flowcut_meets_the_budget_before_the_last_layer_but_one():
    told = PRUNERS["flowcut"]().early(TOWER, SMALL, 64)
    assert list(told) == list(range(-TOWER, -1))
    assert set(told.values()) == {64}


@pytest.mark.parametrize(
    ("budget", "dominant", "contexts"),
    [
        (192, 162, 30),
        (128, 108, 20),
        (64, 54, 10),
        (720, 5 * 122, 5 * 22),
        (640, 5 * 108, 5 * 20),
        (320, 5 * 54, 5 * 10),
    ],
)
def test_visionzip(budget, dominant, contexts):
    """Dominant tokens hold one CLS token a tile."""
    n = SMALL if budget < 200 else LARGE
    tile = torch.arange(n) // SMALL
    features = torch.randn(n, 4)
    seen = vision(features, tile=tile, keys=features, cls=torch.randn(5, 4), cls_attention=torch.rand(n), heads=2)
    cut = PRUNERS["visionzip"]().cut(view(features, seen=seen), budget)
    alone = torch.bincount(cut.owner, minlength=budget) <= 1
    assert len(cut.anchor) == budget
    assert int((cut.anchor < 0).sum()) == n // SMALL
    assert int((~alone).sum()) <= contexts
    merged = cut.anchor[~alone]
    assert int(alone.sum()) >= dominant
    assert len(set(merged.tolist())) == len(merged)


@pytest.mark.parametrize(
    ("budget", "top"), [(192, 191), (128, 127), (64, 63), (720, 5 * 143), (640, 5 * 127), (320, 5 * 63)]
)
def test_prumerge(budget, top):
    n = SMALL if budget < 200 else LARGE
    features = torch.randn(n, 4)
    seen = vision(features, tile=torch.arange(n) // SMALL, last_keys=features, last_attention=torch.rand(n))
    for method in ("prumerge", "prumerge-plus"):
        cut = PRUNERS[method]().cut(view(features, seen=seen), budget)
        assert int((cut.anchor >= 0).sum()) == top
        assert int((cut.anchor < 0).sum()) == n // SMALL


@pytest.mark.parametrize("budget", [720, 640, 320])
def test_tiles_share_the_budget_evenly(budget):
    shares = quotas(torch.arange(LARGE) // SMALL, budget)
    assert [k for _, k in shares] == [budget // 5] * 5
    assert sum(k for _, k in quotas(torch.tensor([0] * 7 + [1] * 5 + [4] * 2), 10)) == 10


@pytest.mark.parametrize(("budget", "grid"), [(192, (12, 16)), (144, (12, 12)), (128, (8, 16)), (64, (8, 8))])
def test_pooling(budget, grid):
    assert shape(24, 24, budget) == grid


@pytest.mark.parametrize("method", INSIDE)
def test_a_budget_out_of_reach_names_the_least(method):
    with pytest.raises(ValueError, match=r"\d+\.\d"):
        schedule(method, SMALL, 3)


def test_pooling_names_the_least_it_leaves():
    seen = replace(view(torch.randn(8, 4)), grids=tuple(torch.arange(8).reshape(4, 2, 1)))
    assert len(PRUNERS["pooling"]().cut(seen, 4).anchor) == 4
    with pytest.raises(ValueError, match="each of 4 pictures"):
        PRUNERS["pooling"]().cut(seen, 3)


@pytest.mark.parametrize("count", ["input", "output", "final"])
@pytest.mark.parametrize("method", ["fastv", "sparsevlm", "pyramiddrop"])
def test_every_way_of_counting_is_met(method, count):
    for n, budget in BUDGETS:
        told = schedule(method, n, budget, count=count)
        assert spent(told, LAYERS, n, count) == pytest.approx(budget, abs=1)


def test_entering_and_spent():
    assert entering({1: 6, 3: 2}, 4, 10) == [10, 6, 6, 2]
    assert spent({1: 6, 3: 2}, 4, 10, "input") == 6
    assert spent({1: 6, 3: 2}, 4, 10, "output") == 4
    assert spent({1: 6, 3: 2}, 4, 10, "final") == 2
