"""Selection tile by tile: each tile is cut as if it were the only one, and the budget is over all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import QUESTION, llava_next, picture

from trimviz import engine
from trimviz.compare import answer, finish, order_table
from trimviz.pruners import PRUNERS
from trimviz.select import quotas
from trimviz.tiles import part

ALONE = ("trimtokenator", "divprune", "divprune-star", "random", "uniform")  # that know no tiles of their own


@pytest.fixture(scope="module")
def model():
    return llava_next().set(selection="per tile")


@pytest.fixture(scope="module")
def prompt(model):
    return model.encode(picture(310, 90), QUESTION)


@pytest.mark.parametrize("method", PRUNERS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_every_method_runs(model, prompt, method, share):
    budget = round(share * prompt.n)
    try:
        run = finish(answer(model, prompt, PRUNERS[method](), budget, limit=2)).run
    except ValueError:  # below what the method can meet, on the whole as well
        with pytest.raises(ValueError, match="budget"):
            finish(answer(llava_next(), prompt, PRUNERS[method](), budget, limit=2))
        return
    if method in ALONE:
        kept = np.bincount(prompt.vision.tile.numpy()[run.kept])
        assert kept.tolist() == [count for _, count in quotas(prompt.vision.tile, budget)]
        assert run.visual_alive.tolist() == [budget] * len(model.layers)


@pytest.mark.parametrize("method", ALONE)
@torch.inference_mode()
def test_a_tile_is_cut_as_if_it_were_the_only_one(model, prompt, method):
    pruner, k = PRUNERS[method](), prompt.n // 3
    run = finish(answer(model, prompt, pruner, k, limit=1)).run
    for index, count in quotas(prompt.vision.tile, k):
        alone = pruner.cut(part(engine.door(prompt), index), count)
        assert np.intersect1d(run.kept, index.numpy()).tolist() == index[alone.anchor].tolist()
    if method == "uniform":
        index, count = quotas(prompt.vision.tile, k)[1]
        expected = [int((i + 0.5) * len(index) / count) for i in range(count)]
        assert np.intersect1d(run.kept, index.numpy()).tolist() == index[expected].tolist()


def test_tiles_compete_unless_told_otherwise(model, prompt):
    pruner, k = PRUNERS["trimtokenator"](), prompt.n // 3
    whole = finish(answer(llava_next(), prompt, pruner, k, limit=1)).run
    apart = finish(answer(model, prompt, pruner, k, limit=1)).run
    assert len(whole.kept) == len(apart.kept) == k and whole.kept.tolist() != apart.kept.tolist()
    ranks = apart.stages[-1].order[apart.kept]
    assert sorted(ranks.tolist()) == list(range(k))
    assert order_table(model, prompt, pruner) is None and order_table(llava_next(), prompt, pruner) is not None


def test_a_part_of_a_view_counts_from_its_own_start(prompt):
    view = engine.door(prompt)
    index = (prompt.vision.tile == 2).nonzero()[:, 0]
    seen = part(view, index)
    assert torch.equal(seen.visual, view.visual[index])
    assert torch.equal(seen.vision.features[seen.origin], view.vision.features[index])
    assert torch.equal(seen.vision.cls[seen.vision.tile], view.vision.cls[view.vision.tile[index]])
    (grid,) = seen.grids
    assert sorted(grid[grid >= 0].tolist()) == list(range(len(index)))
