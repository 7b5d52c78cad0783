"""TrimTokenator against the equations of arXiv 2509.00320, written out slowly; the floors Random and Uniform."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from views import view

from trimviz.pruners.random import Random
from trimviz.pruners.trimtokenator import TrimTokenator
from trimviz.pruners.uniform import Uniform

SHARES = {0.7: (7, 10), 0.75: (3, 4), 0.8: (4, 5), 0.9: (9, 10)}


# --- the equations, one loop after the other, in float64 ----------------------------------------------------------


def norm(x):
    return math.sqrt(sum(float(v) * float(v) for v in x))


def distance(x, y):
    return norm([float(a) - float(b) for a, b in zip(x, y, strict=True)])


def cosine(x, y):
    length = norm(x) * norm(y)
    return sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) / length if length else 0.0


def neighbour_information(x, y, k=3):
    """The estimator of Kraskov, Stoegbauer and Grassberger (2004), eq. 8 there, on standardised coordinates; nats."""
    x, y = np.asarray(x, float) / np.std(x), np.asarray(y, float) / np.std(y)
    n = len(x)

    def digamma(m):
        return -0.5772156649015329 + sum(1.0 / i for i in range(1, m))

    total = 0.0
    for i in range(n):
        reach = sorted(max(abs(x[i] - x[j]), abs(y[i] - y[j])) for j in range(n) if j != i)[k - 1]
        near_x = sum(1 for j in range(n) if j != i and abs(x[i] - x[j]) < reach)
        near_y = sum(1 for j in range(n) if j != i and abs(y[i] - y[j]) < reach)
        total += digamma(near_x + 1) + digamma(near_y + 1)
    return max(0.0, digamma(n) + digamma(k) - total / n)


ALIGN = {
    "l2": lambda x, y: -distance(x, y),
    "squared": lambda x, y: -(distance(x, y) ** 2),
    "cos": cosine,
    "mi": neighbour_information,
}
SIMILAR = {"cos": cosine, "l2": lambda x, y: -distance(x, y)}


def alignment(visual, text, align):
    return [sum(ALIGN[align](x, t) for t in text) / len(text) for x in visual]  # eqs. 2, 3


def best(alpha, among, count):
    """eq. 4: the `count` highest of `among`, the lower index first where equal."""
    return sorted(among, key=lambda i: (-alpha[i], i))[:count]


def greedy(visual, members, count, diversity):
    """eqs. 8 to 16 over the tokens `members`; the picks in order and their mean similarities."""
    members = sorted(members)
    c = {i: {j: SIMILAR[diversity](visual[i], visual[j]) for j in members} for i in members}  # eq. 8
    average = {i: sum(c[i][j] for j in members) / len(members) for i in members}  # eq. 9
    seed = min(members, key=lambda i: (round(average[i], 9), i))  # eq. 10
    chosen, remaining, means = [seed], [i for i in members if i != seed], [math.nan]  # eq. 11
    sigma = dict(c[seed])  # eq. 12
    for t in range(2, count + 1):
        mean = {i: sigma[i] / (t - 1) for i in remaining}  # eq. 13
        pick = min(remaining, key=lambda i: (round(mean[i], 9), i))  # eq. 14
        chosen.append(pick)  # eq. 15
        remaining.remove(pick)
        means.append(mean[pick])
        for i in members:
            sigma[i] += c[pick][i]  # eq. 16
    return chosen, means


def trimtokenator(visual, text, k, share=(4, 5), align="l2", diversity="cos", stages="both"):
    """Picks in order, X^v(1) or None, and the mean similarities or None."""
    n = len(visual)
    alpha = alignment(visual, text, align)
    n1 = max(k, share[0] * n // share[1])
    everything = list(range(n))
    if stages == "both":
        first = best(alpha, everything, n1)
        picks, means = greedy(visual, first, k, diversity)
        return picks, first, means
    if stages == "swapped":
        first, _ = greedy(visual, everything, n1, diversity)
        return best(alpha, first, k), first, None
    if stages == "alignment":
        return best(alpha, everything, k), None, None
    if stages == "diversity":
        picks, means = greedy(visual, everything, k, diversity)
        return picks, None, means
    draw = torch.randperm(n, generator=torch.Generator().manual_seed(0)).tolist()
    picks, means = greedy(visual, draw[:n1], k, diversity)
    return picks, draw[:n1], means


def tokens(seed, n=20, m=4, d=6):
    """Random tokens in three clusters of unlike norm, with a duplicate pair."""
    rng = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(3, d, generator=rng)
    visual = centres[torch.randint(3, (n,), generator=rng)] + torch.randn(n, d, generator=rng)
    visual[n - 3] = visual[4]
    return visual, torch.randn(m, d, generator=rng)


def picked(cut):
    """The kept indices in the order of picking."""
    return cut.anchor[cut.order.argsort()].tolist()


def check(pruner, visual, text, k, **options):
    cut = pruner.cut(view(visual, text), k)
    picks, first, means = trimtokenator(visual.tolist(), text.tolist(), k, **options)
    assert picked(cut) == picks
    assert cut.anchor.tolist() == sorted(picks)
    assert (cut.owner >= 0).nonzero()[:, 0].tolist() == sorted(picks)
    if first is None or len(first) == len(visual):
        assert cut.stages == ()
    else:
        ((name, kept),) = cut.stages
        assert name == "X^v(1)"
        assert kept.nonzero()[:, 0].tolist() == sorted(first)
    if means is None:
        assert not cut.film
    else:
        np.testing.assert_allclose(cut.film["mean similarity"].numpy(), means, atol=1e-5)
    return cut


# --- equal to the equations ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n1", SHARES)
@pytest.mark.parametrize("k", [1, 2, 7, 13, 19])
def test_defaults_equal_the_equations(n1, k):
    for seed in range(5):
        visual, text = tokens(seed)
        cut = check(TrimTokenator(n1=n1), visual, text, k, share=SHARES[n1])
        expected = alignment(visual.tolist(), text.tolist(), "l2")
        np.testing.assert_allclose(cut.scores["alpha"].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("n1", SHARES)
@pytest.mark.parametrize("align", ["l2", "squared", "cos"])
@pytest.mark.parametrize("diversity", ["cos", "l2"])
@pytest.mark.parametrize("stages", ["both", "swapped", "alignment", "diversity", "random-first"])
def test_every_knob_equals_the_equations(n1, align, diversity, stages):
    for seed in (10, 11):
        visual, text = tokens(seed)
        pruner = TrimTokenator(n1=n1, align=align, diversity=diversity, stages=stages)
        check(pruner, visual, text, 8, share=SHARES[n1], align=align, diversity=diversity, stages=stages)


def test_mutual_information_equals_the_estimator_written_out():
    rng = torch.Generator().manual_seed(3)
    text = torch.randn(3, 40, generator=rng)
    noise = torch.randn(10, 40, generator=rng)
    visual = 5 * (noise + torch.arange(10)[:, None] * text[0] / 3)  # the later a token, the more it tells of a word
    text[2] = text[1]  # a word that comes twice counts twice
    cut = check(TrimTokenator(align="mi"), visual, text, 5, align="mi")
    expected = alignment(visual.tolist(), text.tolist(), "mi")
    np.testing.assert_allclose(cut.scores["alpha"].numpy(), expected, atol=1e-5)
    assert expected[9] > expected[0]


def test_textual_tokens_are_those_of_the_knob():
    visual, text = tokens(5, m=6)
    question = torch.tensor([False, False, True, True, False, False])
    after = torch.tensor([False, True, True, True, True, True])
    for name, rows in {"question": question, "after-image": after, "all": torch.ones(6, dtype=torch.bool)}.items():
        cut = TrimTokenator(text=name).cut(view(visual, text, question, after), 5)
        expected = alignment(visual.tolist(), text[rows].tolist(), "l2")
        np.testing.assert_allclose(cut.scores["alpha"].numpy(), expected, atol=1e-5)


def test_five_tokens_worked_by_hand():
    """Distances to (0, 0) and (3, 4); 4 of 5 stay, the last being farthest. Then D, its opposite A, and B by index.

    Cosines among A B C D: AB 0, AC 0.6, AD -1, BC 0.8, BD 0, CD -0.6. Sums with the token itself: 0.6, 1.8, 1.8, -0.6,
    so D is the seed. To D: A -1, B 0, C -0.6, so A. To D and A: B 0 + 0, C -0.6 + 0.6: equal, and B stands first.
    """
    a, b, c, d, e = (3.0, 0.0), (0.0, 4.0), (3.0, 4.0), (-3.0, 0.0), (6.0, 8.0)
    visual, text = torch.tensor([a, b, c, d, e]), torch.tensor([(0.0, 0.0), (3.0, 4.0)])
    cut = TrimTokenator().cut(view(visual, text), 3)
    alpha = [-(3 + 4) / 2, -(4 + 3) / 2, -(5 + 0) / 2, -(3 + math.sqrt(52)) / 2, -(10 + 5) / 2]
    np.testing.assert_allclose(cut.scores["alpha"].numpy(), alpha, atol=1e-6)
    assert cut.stages[0][1].tolist() == [True, True, True, True, False]
    assert picked(cut) == [3, 0, 1]
    assert cut.anchor.tolist() == [0, 1, 3]
    assert cut.owner.tolist() == [0, 1, -1, 2, -1]
    assert cut.order.tolist() == [1, 2, 0]
    np.testing.assert_allclose(cut.film["mean similarity"].numpy(), [math.nan, -1, 0], atol=1e-6)


def test_shares_are_exact_and_counts_are_counts():
    for share, n, expected in ((0.7, 2880, 2016), (0.8, 576, 460), (0.9, 576, 518), (0.75, 576, 432), (0.7, 576, 403)):
        cut = TrimTokenator(n1=share).cut(view(torch.randn(n, 4), torch.randn(1, 4)), 2)
        assert int(cut.stages[0][1].sum()) == expected
    cut = TrimTokenator(n1=12).cut(view(torch.randn(20, 4)), 2)
    assert int(cut.stages[0][1].sum()) == 12
    for whole in (1, 1.0):  # a slider at its end sends either
        assert TrimTokenator(n1=whole).cut(view(torch.randn(20, 4)), 2).stages == ()


def test_identical_tokens_are_taken_by_index_and_once():
    visual = torch.ones(10, 4)
    cut = TrimTokenator().cut(view(visual, torch.zeros(2, 4)), 6)
    assert picked(cut) == [0, 1, 2, 3, 4, 5]
    visual[:] = 0.0
    assert picked(TrimTokenator().cut(view(visual, torch.zeros(2, 4)), 6)) == [0, 1, 2, 3, 4, 5]


def test_without_text_the_first_stage_is_skipped():
    visual, text = tokens(7)
    nothing = torch.zeros(len(text), dtype=torch.bool)
    cut = TrimTokenator().cut(view(visual, text, question=nothing), 6)
    assert cut.stages == ()
    assert picked(cut) == greedy(visual.tolist(), range(len(visual)), 6, "cos")[0]


@pytest.mark.parametrize("align", ["l2", "cos"])
@pytest.mark.parametrize("diversity", ["cos", "l2"])
@pytest.mark.parametrize("stages", ["both", "swapped", "alignment", "diversity", "random-first"])
def test_the_order_table_is_every_cut_at_once(align, diversity, stages):
    visual, text = tokens(21, n=16)
    knobs = {"align": align, "diversity": diversity, "stages": stages}
    pruner = TrimTokenator(**knobs)
    table = pruner.order_table(view(visual, text))
    for size, order in zip(table.sizes.tolist(), table.orders, strict=True):
        assert len(order) == size
        assert len(set(order.tolist())) == size
        for k in range(1, min(size, 15) + 1):
            cut = TrimTokenator(n1=size / 16, **knobs).cut(view(visual, text), k)
            assert picked(cut) == order[:k].tolist()
            if size < 16:
                assert cut.stages[0][1].nonzero()[:, 0].tolist() == sorted(table.first[:size].tolist())


def test_a_large_order_table_has_a_hundred_sizes_that_equal_the_cut():
    rng = torch.Generator().manual_seed(1)
    visual, text = torch.randn(1100, 5, generator=rng), torch.randn(2, 5, generator=rng)
    table = TrimTokenator().order_table(view(visual, text))
    assert len(table.sizes) == 100
    assert table.sizes[-1] == 1100
    for row in (9, 49, 79):
        size = int(table.sizes[row])
        cut = TrimTokenator(n1=size).cut(view(visual, text), size)
        assert picked(cut) == table.orders[row].tolist()


# --- the floors ---------------------------------------------------------------------------------------------------


def test_random_is_the_seeded_permutation():
    visual = torch.randn(30, 4)
    for seed in (0, 7):
        draw = torch.randperm(30, generator=torch.Generator().manual_seed(seed)).tolist()
        cut = Random(seed=seed).cut(view(visual), 12)
        assert picked(cut) == draw[:12]
        assert cut.anchor.tolist() == sorted(draw[:12])
        assert Random(seed=seed).order_table(view(visual)).orders[0].tolist() == draw
    assert Random(seed=1).cut(view(visual), 12).anchor.tolist() != Random(seed=2).cut(view(visual), 12).anchor.tolist()


@pytest.mark.parametrize(("n", "k"), [(10, 1), (10, 3), (576, 64), (576, 575), (2880, 320)])
def test_uniform_takes_the_middle_of_equal_stretches(n, k):
    cut = Uniform().cut(view(torch.zeros(n, 2)), k)
    assert cut.anchor.tolist() == [math.floor((2 * i + 1) * n / (2 * k)) for i in range(k)]
    assert len(set(cut.anchor.tolist())) == k
