"""A sweep against whole comparisons of the same pairs: what it tells without writing an answer is what they say."""

from __future__ import annotations

import pytest
from tiny_models import QUESTION, llava, picture

from trimviz import engine
from trimviz.compare import answer, ask, finish, judge, pick
from trimviz.sweep import MOST, Point, pairs, sizes, sweep

LIMIT = 5  # tokens of an answer


@pytest.fixture(scope="module")
def model():
    return llava()


@pytest.fixture(scope="module")
def prompt(model):
    return ask(model, picture(), QUESTION)


@pytest.fixture(scope="module")
def dense(model, prompt):
    return finish(answer(model, prompt, limit=LIMIT))


@pytest.mark.parametrize(("method", "knobs"), [("trimtokenator", {"align": "cos"}), ("fastv", {})])
def test_every_pair_says_what_a_comparison_says(model, prompt, dense, method, knobs):
    points = list(sweep(model, prompt, dense, method, knobs, pairs(method, [20, prompt.n], [12, 18, prompt.n])))
    assert len(points) == (6 if method == "trimtokenator" else 3)
    ran = [point for point in points if not point.reason]
    assert len(ran) >= 3
    for point in ran:
        settings = knobs if point.n1 is None else {**knobs, "n1": point.n1}
        trace = finish(answer(model, prompt, pick(method, settings), point.keep, LIMIT))
        found = judge(model, prompt, dense, trace)
        assert point.kl == pytest.approx(float(found.kl.mean()), abs=1e-5)
        assert point.same == (found.divergence is None) == (found.dense.answer.ids == found.pruned.answer.ids)
        assert found.divergence is None or point.agreed == found.divergence.token
    assert {point.same for point in ran} == {True, False}, "keeping everything says the same, keeping a third does not"


def test_sizes_are_read_exactly():
    assert sizes("0.8, 1/9,64, 11.1%, 1.0", 576) == [64, 460, 576]
    assert sizes("0.7", 2880) == [2016], "2015 in floating point"
    assert sizes("1, 1/36", 36) == [1] and sizes("", 36) == []


@pytest.mark.parametrize("text", ["many", "1/0", "-3", "nan", "1e9", "0", "0.001", "37", "2.0", "200%", "9" * 50])
def test_sizes_that_make_no_sense_are_refused(text):
    with pytest.raises(ValueError, match="Expected sizes"):
        sizes(text, 36)


def test_pairs_stand_row_by_row_and_say_where_n1_is_below_keep():
    told = pairs("trimtokenator", [18, 36], [6, 20])
    assert [(p.n1, p.keep, bool(p.reason)) for p in told] == [
        (18, 6, False), (18, 20, True), (36, 6, False), (36, 20, False)
    ]  # fmt: skip
    assert [(p.n1, p.keep) for p in pairs("uniform", [18, 36], [6, 20])] == [(None, 6), (None, 20)]
    assert pairs("trimtokenator", [1], [1])[0].reason, "a knob of 1 is the share of all tokens"


@pytest.mark.parametrize(("n1s", "keeps"), [((), (3,)), ((5,), ()), (range(2, 32), range(2, 32))])
def test_a_sweep_of_nothing_or_too_much_is_refused(n1s, keeps):
    with pytest.raises(ValueError, match=f"at least one size|at most {MOST} pairs"):
        pairs("trimtokenator", n1s, keeps)


def test_a_budget_out_of_reach_is_a_reason_and_the_rest_runs(model, prompt, dense):
    first, second = sweep(model, prompt, dense, "fastv", {}, [Point(None, 2), Point(None, 30)])
    assert "at least" in first.reason and first.kl is None
    assert second.kl is not None and not second.reason


def test_it_ends_within_a_pair_and_leaves_the_model_free(model, prompt, dense):
    wanted = iter([True, True, True])  # asked before a pair, and in every layer of it
    found = list(sweep(model, prompt, dense, "random", {}, [Point(None, 4)] * 9, lambda: not next(wanted, False)))
    assert found == [] and not model.lock.locked()
    asked = iter([True] * 100)
    points = sweep(model, prompt, dense, "random", {}, [Point(None, 4)] * 9, lambda: not next(asked, False))
    assert next(points).kl is not None
    points.close()
    assert not model.lock.locked()


def test_the_picture_is_encoded_and_the_dense_answer_given_once(model, prompt, dense, monkeypatch):
    monkeypatch.setattr(model, "look", lambda pictures: pytest.fail("the picture was looked at again"))
    runs, prefill = [], engine.prefill

    def counted(model, prompt, pruner=None, *rest):
        runs.append(pruner)
        return prefill(model, prompt, pruner, *rest)

    monkeypatch.setattr(engine, "prefill", counted)
    list(sweep(model, prompt, dense, "trimtokenator", {}, pairs("trimtokenator", [28], [4, 9])))
    assert len(runs) == 2 and None not in runs
