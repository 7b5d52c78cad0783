"""The contract that every method keeps on every family that it fits."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from tiny_models import FAMILIES, FILMED, QUESTION, clip_of, picture

from trimviz import engine
from trimviz.compare import answer, finish, misfit, overlap
from trimviz.pruners import PRUNERS
from trimviz.select import COUNT, spent

CASES = [*FAMILIES, *(f"{family}, video" for family in FILMED)]
PAIRS = [(method, family) for method in PRUNERS for family in CASES]
STEPS = 3


@cache
def asked(family):
    """The tiny model of a family and a prompt about a picture or a video."""
    model = FAMILIES[family.removesuffix(", video")]()
    return model, model.encode(clip_of() if family.endswith("video") else picture(), QUESTION)


@cache
def ran(method, family, share):
    model, prompt = asked(family)
    return finish(answer(model, prompt, PRUNERS[method](), round(prompt.n * share), limit=STEPS))


def count_hooks(core):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in core.modules())


def skip_misfit(method, family):
    reason = misfit(PRUNERS[method], type(asked(family)[0]))
    if reason:
        pytest.skip(reason)
    if "tower" in PRUNERS[method].needs and asked(family)[1].vision.tower is None:
        pytest.skip("this input cannot be run through the tower in steps")


def granularity(method, model, prompt, budget):
    """How far from the budget a method may stay, as its module says."""
    if method == "vtw":
        return prompt.n / len(model.layers) / 2
    if method == "pooling":
        return 0.2 * budget + len(prompt.panels)
    return 1


@pytest.mark.parametrize(("method", "family"), PAIRS)
def test_a_run_keeps_the_contract(method, family):
    skip_misfit(method, family)
    model, prompt = asked(family)
    budget = round(prompt.n * 0.5)
    run = ran(method, family, 0.5).run
    assert abs(run.visual_alive.mean() - budget) <= granularity(method, model, prompt, budget)
    assert run.stages
    assert len(run.alive) == len(run.visual_alive) == len(model.layers)
    assert (np.diff(run.visual_alive) <= 0).all()
    assert [layer.keys.shape[-2] for layer in ran(method, family, 0.5).state.cache.layers] == run.alive.tolist()
    for stage in run.stages:
        assert stage.kept.shape == stage.owner.shape == (prompt.n,)
        assert stage.kept.dtype == bool
        assert ((stage.owner >= 0) == stage.kept).all()
        assert not (stage.standing & ~stage.kept).any()
        groups = stage.owner[stage.standing].tolist()
        assert len(set(groups)) == len(groups), "one token of a merged group stands for it"
        alone = np.bincount(stage.owner[stage.kept], minlength=1)[stage.owner] == 1
        assert (stage.standing | ~stage.kept | ~alone).all() or method.startswith("prumerge")
        assert stage.owner.max() < prompt.n or stage.depth < 0  # the tower may know patches that were padding
        assert all(values.shape == (prompt.n,) and values.dtype == np.float32 for values in stage.scores.values())
        if stage.order is not None:
            ranks = stage.order[stage.kept]
            assert sorted(set(ranks.tolist())) == list(range(len(set(stage.owner[stage.kept].tolist()))))
            assert (stage.order[~stage.kept] == -1).all()


@pytest.mark.parametrize(("method", "family"), PAIRS)
def test_scores_are_missing_exactly_where_a_token_is_gone(method, family):
    skip_misfit(method, family)
    _, prompt = asked(family)
    alive = after = np.ones(prompt.n, dtype=bool)
    depth = None
    for stage in ran(method, family, 0.5).run.stages:
        if depth is not None and stage.depth != depth:
            alive = after
        for name, values in stage.scores.items():
            assert (np.isnan(values) == ~alive).all(), f"{name} at depth {stage.depth}"
        assert not (stage.kept & ~alive).any()
        after, depth = stage.kept, stage.depth


@pytest.mark.parametrize(("method", "family"), PAIRS)
@torch.inference_mode()
def test_a_cut_keeps_the_contract_and_is_what_the_run_records(method, family):
    """Shapes, ranges and distinct picks of every cut, as the engine gets it; the run tells the same tokens."""
    skip_misfit(method, family)
    model, prompt = asked(family)
    cuts = []

    class Watched(PRUNERS[method]):
        def cut(self, view, k):
            made = super().cut(view, k)
            cuts.append((view, k, made))
            return made

    state = engine.prefill(model, prompt, Watched(), round(prompt.n * 0.5))
    assert cuts
    for view, k, cut in cuts:
        n, left = len(view.visual), len(cut.anchor)
        assert cut.owner.shape == (n,)
        assert left == k or method in ("pooling", "flowcut")
        assert int(cut.owner.min()) >= -1
        assert int(cut.owner.max()) < max(left, 1)
        placed = cut.anchor[cut.anchor >= 0].tolist()
        assert len(set(placed)) == len(placed)
        assert not placed or max(placed) < n
        assert all((cut.owner[a] == o) for o, a in enumerate(cut.anchor.tolist()) if a >= 0)
        assert all(score.shape == (n,) and bool(score.isfinite().all()) for score in cut.scores.values())
        if cut.tokens is not None:
            assert cut.tokens.shape == (left, view.visual.shape[1])
            assert bool(cut.tokens.isfinite().all())
        else:
            assert (cut.anchor >= 0).all()
            assert (cut.anchor.diff() > 0).all()
            assert (torch.bincount(cut.owner[cut.owner >= 0], minlength=left) == 1).all()
        if cut.order is not None:
            assert sorted(cut.order.tolist()) == list(range(left))
        assert all(len(values) == left for values in cut.film.values())
    view, _, cut = cuts[-1]
    if view.depth >= 0:
        told = state.stages[-1].kept
        sources = [view.origin[i] for i in (cut.owner >= 0).nonzero()[:, 0].tolist()]
        assert told[[int(s) for s in sources if s >= 0]].all()
        if all(c.tokens is None for _, _, c in cuts):
            assert np.flatnonzero(told).tolist() == sorted(int(view.origin[a]) for a in cut.anchor)


@pytest.mark.parametrize(("method", "family"), PAIRS)
def test_a_run_is_the_same_twice_and_leaves_the_model_as_found(method, family):
    skip_misfit(method, family)
    model, prompt = asked(family)
    first = ran(method, family, 0.5)
    hooks = count_hooks(model.core)
    weights = [p.clone() for p in model.core.parameters()]
    again = finish(answer(model, prompt, PRUNERS[method](), round(prompt.n * 0.5), limit=STEPS))
    assert torch.equal(first.logits, again.logits)
    for one, two in zip(first.run.stages, again.run.stages, strict=True):
        assert (one.owner == two.owner).all()
    assert all(torch.equal(p, q) for p, q in zip(model.core.parameters(), weights, strict=True))
    assert model.core.config._attn_implementation == "sdpa"
    assert count_hooks(model.core) == hooks


@pytest.mark.parametrize(("method", "family"), PAIRS)
def test_a_budget_of_all_tokens_is_the_dense_answer(method, family):
    skip_misfit(method, family)
    model, prompt = asked(family)
    dense = finish(answer(model, prompt, limit=STEPS))
    trace = finish(answer(model, prompt, PRUNERS[method](), prompt.n, limit=STEPS))
    assert torch.equal(trace.logits, dense.logits)
    assert trace.run.stages == ()


@pytest.mark.parametrize(("method", "family"), PAIRS)
@torch.inference_mode()
def test_an_order_table_holds_the_cuts(method, family):
    skip_misfit(method, family)
    _model, prompt = asked(family)
    pruner, door = PRUNERS[method](), engine.door(prompt)
    if method in ("fastv", "pyramiddrop", "sparsevlm", "vtw", "tome", "flowcut"):
        assert pruner.order_table(door) is None
        return
    table = pruner.order_table(door)
    if table is None:
        return
    for k in (1, prompt.n // 3, prompt.n - 1):
        cut = pruner.cut(door, k)
        row = 0
        if len(table.sizes) > 1:
            wanted = next(len(stage.nonzero()) for _, stage in cut.stages) if cut.stages else prompt.n
            row = table.sizes.tolist().index(wanted)
        assert sorted(table.orders[row][:k].tolist()) == cut.anchor.tolist()


def test_settings_are_refused_in_a_sentence():
    for pruner in PRUNERS.values():
        with pytest.raises(ValueError, match="has no knob"):
            pruner.make({"nonsense": 1})
        for knob in pruner.knobs():
            assert knob.help
            with pytest.raises(ValueError, match=f"Knob {knob.name}"):
                pruner.make({knob.name: "nonsense"})


def test_every_method_has_its_words():
    for key, pruner in PRUNERS.items():
        assert key == pruner.key == key.lower()
        assert pruner.clause
        assert pruner.name in (pruner.__doc__ or "") or pruner.__module__
        assert pruner.paper == "" or len(pruner.paper) == 10


def test_a_run_has_what_its_schedule_spends_however_it_is_counted():
    model, prompt = asked("llava")
    layers, n = len(model.layers), prompt.n
    for method in ("fastv", "pyramiddrop", "sparsevlm", "vtw", "random"):
        told = PRUNERS[method]().schedule(layers, n, n // 2)
        counts = ran(method, "llava", 0.5).run.counts
        assert counts == pytest.approx({count: spent(told, layers, n, count) for count in COUNT})
        assert (counts["input"] > counts["output"]) == (method != "random")


@pytest.mark.parametrize("method", ["tome", "visionzip", "sparsevlm", "prumerge", "pooling"])
def test_of_merged_tokens_the_one_in_whose_place_they_stand_counts_as_kept(method):
    """As many stand as live on in the language model, but for CLS tokens and what stands for nothing in particular."""
    run = ran(method, "llava", 0.5).run
    assert run.visual_alive[-1] - len(run.standing) in (0, 1)
    last = run.stages[-1]
    merged = last.kept & ~last.standing
    assert merged.any()
    assert set(last.owner[merged].tolist()) <= {*last.owner[last.standing].tolist(), int(last.owner.max())}
    plain = ran("divprune", "llava", 0.5).run
    shared, either = len({*run.standing} & {*plain.kept}), len({*run.standing} | {*plain.kept})
    assert overlap([run, plain])[0, 1] == shared / either
    assert overlap([run, plain])[0, 1] != len({*run.kept} & {*plain.kept}) / len({*run.kept} | {*plain.kept})


def test_runs_that_keep_nothing_agree():
    run = ran("vtw", "llava", 0.5).run
    assert overlap([run, run]).tolist() == [[1, 1], [1, 1]]
    assert overlap([run, ran("random", "llava", 0.5).run])[0, 1] == 0
