"""Every method against a second version of it: float64 loops written from the formulas, sharing nothing with the first.

Inputs hold duplicates, zero vectors and equal scores. Near ties are apart by 1e-4 and more, which float32 resolves;
closer ones are decided by rounding in any version, and identical tokens go by index.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from views import view, vision

from trimviz.pruners import PRUNERS
from trimviz.pruners.pooling import shape
from trimviz.types import View

SEEDS = range(50)
FLAVOURS = ("plain", "duplicates", "zeros", "constant", "near ties")


def dot(x, y):
    return math.fsum(a * b for a, b in zip(x, y, strict=True))


def cos(x, y):
    length = math.sqrt(dot(x, x) * dot(y, y))
    return dot(x, y) / length if length else 0.0


def descending(scores, among=None):
    """Indices by falling score, equal ones (to nine digits) by index."""
    among = range(len(scores)) if among is None else among
    return sorted(among, key=lambda i: (-round(scores[i], 9), i))


def lowest(values):
    """The index of the smallest value, the first of equal ones."""
    return min(range(len(values)), key=lambda i: (round(values[i], 9), i))


def mean(rows):
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def tokens(rng, n, d, flavour):
    """(n, d) rows of the flavour; the entries are multiples of 1/64, so that float32 holds them exactly."""
    x = rng.integers(-128, 129, (n, d)) / 64
    if flavour == "duplicates":
        x[n - 2], x[n // 2] = x[1], x[3]
    elif flavour == "zeros":
        x[[0, n - 1]] = 0
    elif flavour == "constant":
        x[n // 2 :] = x[0]
    elif flavour == "near ties":
        x[4] = x[2] + np.eye(d)[1] / 16
        x[5] = x[3] + np.eye(d)[0] / 16
    return x


def scores(rng, n, flavour):
    """(n,) positive, summing to about 1; all equal in the flavour constant, near in near ties."""
    if flavour == "constant":
        return np.full(n, 1 / 64)
    raw = rng.permutation(n) + 1.0 if flavour != "near ties" else 1 + rng.permutation(n) * 2.0**-9
    if flavour == "duplicates":
        raw[n - 2] = raw[1]
    return raw / 2 ** math.ceil(math.log2(raw.sum()))


def tensor(x):
    return torch.from_numpy(np.ascontiguousarray(x)).float()


def cases(n=24, d=12):
    return [(seed, FLAVOURS[seed % len(FLAVOURS)], n, d) for seed in SEEDS]


def distinct(x):
    return len(np.unique(x, axis=0))


# --- DivPrune, DivPrune* -------------------------------------------------------------------------------------------


def max_min(x, members, k):
    """Each pick has the largest smallest distance to those before it."""
    gap = {i: {j: 1 - cos(x[i], x[j]) for j in members} for i in members}
    alone = [min(gap[i][j] for j in members if j != i) for i in members]
    picks = [members[lowest([-a for a in alone])]]
    while len(picks) < k:
        rest = [i for i in members if i not in picks]
        picks.append(rest[lowest([-min(gap[i][s] for s in picks) for i in rest])])
    return picks


@pytest.mark.parametrize(("seed", "flavour", "n", "d"), cases())
def test_divprune(seed, flavour, n, d):
    rng = np.random.default_rng(seed)
    x = tokens(rng, n, d, flavour)
    k = min(9, distinct(x) - 4)  # where only duplicates are left, all distances are rounding
    cut = PRUNERS["divprune"]().cut(view(tensor(x)), k)
    assert cut.anchor[cut.order.argsort()].tolist() == max_min(x.tolist(), list(range(n)), k)
    table = PRUNERS["divprune"]().order_table(view(tensor(x)))
    assert table.orders[0][:k].tolist() == max_min(x.tolist(), list(range(n)), k)
    assert sorted(table.orders[0].tolist()) == list(range(n))


@pytest.mark.parametrize(("seed", "flavour", "n", "d"), cases())
def test_divprune_star(seed, flavour, n, d):
    rng = np.random.default_rng(seed)
    x, text = tokens(rng, n, d, flavour), rng.integers(-64, 65, (3, d)) / 64
    alpha = [-math.fsum(math.dist(row, word) for word in text.tolist()) / 3 for row in x.tolist()]
    first = descending(alpha)[: n * 4 // 5]
    k = max(1, min(9, distinct(x[first]) - 4))
    cut = PRUNERS["divprune-star"]().cut(view(tensor(x), tensor(text)), k)
    assert cut.stages[0][1].nonzero()[:, 0].tolist() == sorted(first)
    assert cut.anchor[cut.order.argsort()].tolist() == max_min(x.tolist(), sorted(first), k)


# --- inside the language model -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "flavour", "n", "d"), cases())
@pytest.mark.parametrize(("method", "source"), [("fastv", "attention"), ("pyramiddrop", "look_ahead")])
def test_last_row_of_attention(seed, flavour, n, d, method, source):
    rng = np.random.default_rng(seed)
    rows = np.stack([np.stack([scores(rng, n, flavour) for _ in range(5)]) for _ in range(2)])  # heads, text, visual
    if flavour == "duplicates":
        rows[..., 7] = rows[..., 3]
    seen = view(tensor(tokens(rng, n, d, flavour)), torch.zeros(5, d), **{source: lambda r: tensor(rows)[:, r]})
    average = [(rows[0, 4, i] + rows[1, 4, i]) / 2 for i in range(n)]
    for k in (1, 7, n - 1):
        assert PRUNERS[method]().cut(seen, k).anchor.tolist() == sorted(descending(average)[:k])
    assert PRUNERS[method]().cut(seen, 0).anchor.tolist() == []


def sparse(visual, door, words, after, attention, kept):
    """SparseVLM: (kept, groups of recycled tokens by centre, raters)."""
    n = len(visual)
    relevance = []
    shares = []
    for v in door:
        logits = [dot(v, w) for w in after]
        top = max(logits)
        weights = [math.exp(x - top) for x in logits]
        shares.append([w / sum(weights) for w in weights])
    relevance = mean(shares)
    raters = [words[j] for j, r in enumerate(relevance) if r > sum(relevance) / len(relevance)] or list(words)
    rating = [
        math.fsum(attention[h][r][i] for h in range(len(attention)) for r in raters) / (len(attention) * len(raters))
        for i in range(n)
    ]
    stay = sorted(descending(rating)[:kept])
    gone = [i for i in range(n) if i not in stay]
    recycled = sorted(descending(rating, gone)[: int(0.3 * len(gone)) + 1])
    count = len(recycled) // 10 + 1
    distance = {i: {j: math.dist(visual[i], visual[j]) / math.sqrt(len(visual[i])) for j in recycled} for i in recycled}
    density = {i: math.exp(-sum(sorted(distance[i][j] ** 2 for j in recycled)[:count]) / count) for i in recycled}
    widest = max(distance[i][j] for i in recycled for j in recycled)
    peak = {}
    for i in recycled:
        above = [distance[i][j] for j in recycled if density[j] > density[i] + 1e-12]
        peak[i] = density[i] * (min(above) if above else widest)
    centres = sorted(recycled, key=lambda i: (-round(peak[i], 9), i))[:count]
    groups = [[c] for c in centres]
    for i in recycled:
        if i not in centres:
            groups[lowest([distance[i][c] for c in centres])].append(i)
    return stay, groups, rating


@pytest.mark.parametrize(("seed", "flavour", "n", "d"), cases(n=60))
def test_sparsevlm(seed, flavour, n, d):
    rng = np.random.default_rng(seed)
    text, m = rng.integers(-64, 65, (6, d)) / 64, 6
    after = torch.tensor([False, False, True, True, True, True])
    entered, visual = tokens(rng, n, d, flavour), tokens(rng, n, d, flavour)
    rows = np.stack([np.stack([scores(rng, n, flavour) for _ in range(m)]) for _ in range(2)])
    door = view(tensor(entered), tensor(text), after=after)
    seen = view(tensor(visual), tensor(text), after=after, depth=3, attention=lambda r: tensor(rows)[:, r], door=door)
    for kept in (4, 15, 40):
        k = kept + (int(0.3 * (n - kept)) + 1) // 10 + 1
        stay, groups, rating = sparse(
            visual.tolist(), entered.tolist(), [2, 3, 4, 5], text[2:].tolist(), rows.tolist(), kept
        )
        cut = PRUNERS["sparsevlm"]().cut(seen, k)
        assert cut.anchor.tolist() == stay + [group[0] for group in groups]
        for g, group in enumerate(groups):
            assert (cut.owner == kept + g).nonzero()[:, 0].tolist() == sorted(group)
            np.testing.assert_allclose(
                cut.tokens[kept + g].tolist(), mean([visual[i].tolist() for i in group]), atol=1e-5
            )
        np.testing.assert_allclose(cut.tokens[:kept].tolist(), visual[stay], atol=0)
        np.testing.assert_allclose(next(iter(cut.scores.values())).tolist(), rating, atol=1e-6)


def test_vtw_keeps_nothing():
    cut = PRUNERS["vtw"]().cut(view(torch.randn(12, 4)), 0)
    assert cut.anchor.tolist() == [] and cut.owner.tolist() == [-1] * 12


# --- in the tower's output -----------------------------------------------------------------------------------------


def heads_mean(row, heads):
    width = len(row) // heads
    return [math.fsum(row[h * width + e] for h in range(heads)) / heads for e in range(width)]


def zip_tile(features, keys, cls, attention, count, heads):
    """VisionZip of one tile: outputs as (anchor, members, feature)."""
    contexts = int(count / 6.4)
    dominant = sorted(descending(attention)[: count - contexts - 1])
    out = [(-1, [], cls)] + [(i, [i], features[i]) for i in dominant]
    rest = [i for i in range(len(features)) if i not in dominant]
    if not contexts:
        return out
    step = max(1, len(rest) // contexts)
    targets = [rest[c * step] for c in range(contexts)]
    metric = [heads_mean(key, heads) for key in keys]
    members = {t: [] for t in targets}
    for i in rest:
        if i not in targets:
            members[targets[lowest([-cos(metric[i], metric[t]) for t in targets])]].append(i)
    for t in targets:
        feature = features[t]
        if members[t]:
            feature = [a + b for a, b in zip(feature, mean([features[i] for i in members[t]]), strict=True)]
        out.append((t, sorted([t, *members[t]]), feature))
    return out


def same_outputs(cut, expected):
    """A cut has these outputs: (anchor, members, feature) in order."""
    assert cut.anchor.tolist() == [anchor for anchor, _, _ in expected]
    for output, (_, members, feature) in enumerate(expected):
        assert (cut.owner == output).nonzero()[:, 0].tolist() == members
        np.testing.assert_allclose(cut.tokens[output].tolist(), feature, atol=2e-5)


@pytest.mark.parametrize(("seed", "flavour", "n", "d"), cases())
def test_visionzip(seed, flavour, n, d):
    rng = np.random.default_rng(seed)
    features, keys = tokens(rng, n, d, flavour), tokens(rng, n, d, flavour)
    cls, attention = rng.integers(-64, 65, (1, d)) / 64, scores(rng, n, flavour)
    seen = vision(tensor(features), keys=tensor(keys), cls=tensor(cls), cls_attention=tensor(attention), heads=3)
    for k in (1, 5, 7, 13, 20, 23):
        cut = PRUNERS["visionzip"]().cut(view(tensor(features), seen=seen), k)
        same_outputs(cut, zip_tile(features.tolist(), keys.tolist(), cls[0].tolist(), attention.tolist(), k, 3))


def test_visionzip_orders_the_tiles_of_a_picture():
    """The overview first; then the patches of all tiles in sequence order, all CLS tokens, all contexts."""
    rng = np.random.default_rng(0)
    features, keys, cls = (tokens(rng, n, 6, "plain") for n in (30, 30, 3))
    attention, tile = scores(rng, 30, "plain"), np.array([0] * 10 + [1, 1, 2, 2] * 5)
    seen = vision(
        tensor(features), keys=tensor(keys), cls=tensor(cls), cls_attention=tensor(attention), heads=2,
        tile=torch.from_numpy(tile),
    )  # fmt: skip
    cut = PRUNERS["visionzip"]().cut(view(tensor(features), seen=seen), 21)
    expected, patches, summary, contexts = [], [], [], []
    for t in range(3):
        where = np.flatnonzero(tile == t)
        told = zip_tile(
            features[where].tolist(), keys[where].tolist(), cls[t].tolist(), attention[where].tolist(), 7, 2
        )
        told = [(int(where[a]) if a >= 0 else -1, [int(where[i]) for i in members], f) for a, members, f in told]
        if t == 0:
            expected += told
        else:
            summary.append(told[0])
            patches += told[1:-1]
            contexts.append(told[-1])
    same_outputs(cut, expected + sorted(patches) + summary + contexts)


def vis(features, attention, count, ratio):
    order = descending(attention)
    important = order[: count * ratio[0] // ratio[1]]
    rest, wanted = order[len(important) :], count - len(important)
    while wanted and len(rest) > wanted:
        evens, odds = rest[0::2], rest[1::2]
        best = [max(cos(features[e], features[o]) for o in odds) for e in evens]
        ranked = descending(best)
        drop = min(8, len(rest) - wanted, len(evens))
        rest = [evens[i] for i in ranked[drop:]] + odds
    return sorted(important + (rest if wanted else [])), sorted(important)


@pytest.mark.parametrize(("seed", "flavour", "n", "d"), cases(n=41))
def test_vispruner(seed, flavour, n, d):
    rng = np.random.default_rng(seed)
    features, attention = tokens(rng, n, d, flavour), scores(rng, n, flavour)
    seen = vision(tensor(features), cls_attention=tensor(attention))
    for k, knob, ratio in (
        (10, 0.5, (1, 2)),
        (7, 0.5, (1, 2)),
        (20, 0.75, (3, 4)),
        (12, 0.0, (0, 1)),
        (9, 1.0, (1, 1)),
    ):
        cut = PRUNERS["vispruner"](important=knob).cut(view(tensor(features), seen=seen), k)
        kept, important = vis(features.tolist(), attention.tolist(), k, ratio)
        assert cut.anchor.tolist() == kept
        assert cut.stages[0][1].nonzero()[:, 0].tolist() == important


def merge(features, attention, keys, kept, normalize=False):
    """PruMerge of one tile: outputs as (anchor, members, feature)."""
    n = len(features)
    near = {
        i: descending([cos(keys[i], keys[j]) for j in range(n)], [j for j in range(n) if j != i])[:32] for i in kept
    }
    out = []
    for sources, own in [*((near[i], i) for i in kept), ([j for j in range(n) if j not in kept], None)]:
        weights = [attention[j] for j in sources]
        scale = sum(weights) if normalize and sources else 1.0
        feature = [
            math.fsum(w * features[j][e] for w, j in zip(weights, sources, strict=True)) / scale
            for e in range(len(features[0]))
        ]
        if own is not None:
            feature = [a + b for a, b in zip(feature, features[own], strict=True)]
        out.append([own if own is not None else -1, [own] if own is not None else [], feature])
    for j in range(n):
        if j not in kept:
            takers = [p for p, i in enumerate(kept) if j in near[i]]
            home = takers[lowest([-cos(keys[kept[p]], keys[j]) for p in takers])] if takers else len(kept)
            out[home][1].append(j)
    return [(anchor, sorted(members), feature) for anchor, members, feature in out]


def outliers(attention):
    low, high = np.percentile(attention, 25), np.percentile(attention, 75)
    return sum(1 for a in attention if a > high + 1.5 * (high - low))


@pytest.mark.parametrize(("seed", "flavour", "n", "d"), cases(n=40))
def test_prumerge(seed, flavour, n, d):
    rng = np.random.default_rng(seed)
    features, keys = tokens(rng, n, d, flavour), tokens(rng, n, d, flavour)
    attention = scores(rng, n, flavour)
    if flavour != "constant":
        attention[[3, 11, 17]] *= 40
    seen = vision(tensor(features), last_keys=tensor(keys), last_attention=tensor(attention))
    x, a, q = features.tolist(), attention.tolist(), keys.tolist()
    pruner, plus = PRUNERS["prumerge"], PRUNERS["prumerge-plus"]
    for k in (1, 2, 9):
        kept = descending(a)[: k - 1]
        same_outputs(pruner().cut(view(tensor(features), seen=seen), k), merge(x, a, q, kept))
        same_outputs(pruner(order="sequence").cut(view(tensor(features), seen=seen), k), merge(x, a, q, sorted(kept)))
        same_outputs(pruner(normalize=True).cut(view(tensor(features), seen=seen), k), merge(x, a, q, kept, True))
        attended = descending(a)[: math.ceil((k - 1) / 2)]
        rest = [i for i in range(n) if i not in attended]
        fill = k - 1 - len(attended)
        spaced = [rest[math.floor((i + 0.5) * len(rest) / fill)] for i in range(fill)]
        same_outputs(plus().cut(view(tensor(features), seen=seen), k), merge(x, a, q, attended + spaced))
    kept = descending(a)[: outliers(a)]
    same_outputs(pruner(adaptive=True).cut(view(tensor(features), seen=seen), 9), merge(x, a, q, kept))
    if kept:
        step = max(1, int(int(n / len(kept)) / 3))
        spaced = [i for i in range(0, n, step) if i not in kept]
        same_outputs(plus(adaptive=True).cut(view(tensor(features), seen=seen), 9), merge(x, a, q, kept + spaced))


def brute_determinant(x, relevance, k):
    """Each pick maximises the determinant of the kernel over all picks."""
    n = len(x)
    kernel = np.array([[relevance[i] * cos(x[i], x[j]) * relevance[j] for j in range(n)] for i in range(n)])
    picks = []
    for _ in range(k):
        rest = [i for i in range(n) if i not in picks]
        logs = []
        for i in rest:
            sign, value = np.linalg.slogdet(kernel[np.ix_([*picks, i], [*picks, i])])
            logs.append(value if sign > 0 else -1e9)
        picks.append(rest[min(range(len(rest)), key=lambda i: (-round(logs[i], 7), i))])
    return picks


@pytest.mark.parametrize(("seed", "flavour", "n", "d"), cases(n=14))
@pytest.mark.parametrize("sign", ["plus", "minus", "none"])
def test_cdpruner(seed, flavour, n, d, sign):
    rng = np.random.default_rng(seed)
    x, text = tokens(rng, n, d, flavour), rng.integers(-64, 65, (3, d)) / 64
    likeness = [cos(row, mean(text.tolist())) * {"plus": 1, "minus": -1, "none": 0}[sign] for row in x.tolist()]
    low, high = min(likeness), max(likeness)
    relevance = [(v - low + 1e-6) / (high - low) if high > low else 1.0 for v in likeness]
    k = min(6, distinct(x) - 3)  # beyond the rank nothing is left to gain
    pruner = PRUNERS["cdpruner"](relevance=sign)
    cut = pruner.cut(view(tensor(x), tensor(text)), k)
    expected = brute_determinant(x.tolist(), relevance, k)
    assert cut.anchor[cut.order.argsort()].tolist() == expected
    np.testing.assert_allclose(cut.scores["relevance"].tolist(), relevance, atol=1e-5)
    assert pruner.order_table(view(tensor(x), tensor(text))).orders[0][:k].tolist() == expected


def test_cdpruner_fills_by_relevance_once_the_space_is_spanned():
    rng = np.random.default_rng(1)
    x, text = tokens(rng, 12, 3, "plain"), rng.integers(-64, 65, (1, 3)) / 64
    cut = PRUNERS["cdpruner"]().cut(view(tensor(x), tensor(text)), 9)
    order = cut.anchor[cut.order.argsort()].tolist()
    likeness = [cos(row, text[0].tolist()) for row in x.tolist()]
    assert order[3:] == descending(likeness, [i for i in range(12) if i not in order[:3]])[:6]
    assert cut.film["gain"][3:].tolist() == [0] * 6


def test_determinant_is_greedy_not_best():
    """Over all sets of three, none has a larger determinant than this by more than the known bound."""
    rng = np.random.default_rng(2)
    x = tokens(rng, 9, 12, "plain")
    kernel = np.array([[cos(a, b) for b in x.tolist()] for a in x.tolist()])
    cut = PRUNERS["cdpruner"](relevance="none").cut(view(tensor(x)), 3)
    best = max(np.linalg.det(kernel[np.ix_(s, s)]) for s in combinations(range(9), 3))
    got = np.linalg.det(kernel[np.ix_(cut.anchor.tolist(), cut.anchor.tolist())])
    assert best / math.factorial(3) ** 2 <= got <= best + 1e-6
    np.testing.assert_allclose(np.prod(cut.film["gain"].tolist()), got, rtol=1e-4)


@pytest.mark.parametrize(("seed", "flavour", "n", "d"), cases(n=42, d=4))
def test_pooling(seed, flavour, n, d):
    rng = np.random.default_rng(seed)
    x = tokens(rng, n, d, flavour)
    rows, cols = 6, 7
    for k in (1, 4, 6, 12, 20, 35):
        r, c = shape(rows, cols, k)
        groups = [[] for _ in range(r * c)]
        for i in range(n):
            groups[math.floor(i // cols * r / rows) * c + math.floor(i % cols * c / cols)].append(i)
        cut = PRUNERS["pooling"]().cut(view(tensor(x), grid=(rows, cols)), k)
        same_outputs(cut, [(group[0], group, mean(x[group].tolist())) for group in groups])


# --- inside the tower ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "flavour", "n", "d"), cases(n=25))
def test_tome(seed, flavour, n, d):
    rng = np.random.default_rng(seed)
    x, keys = tokens(rng, n, d, flavour), tokens(rng, n, d, flavour)
    size = rng.integers(1, 5, n)
    seen = vision(tensor(x), keys=tensor(keys), heads=2)
    base = view(tensor(x), depth=-2, seen=seen)
    inside = View(**{**vars(base), "size": torch.from_numpy(size)})
    metric = [heads_mean(key, 2) for key in keys.tolist()]
    places = [None, *range(n)]  # CLS stands first, so patches with even index are at odd places
    a = [p for p in places[0::2] if p is not None]
    b = places[1::2]
    match = {i: b[lowest([-cos(metric[i], metric[j]) for j in b])] for i in a}
    alike = {i: cos(metric[i], metric[match[i]]) for i in a}
    for k in (24, 20, 13):
        merged = sorted(a, key=lambda i: (-round(alike[i], 9), i))[: n - k]
        outputs = [i for i in a if i not in merged] + b
        expected = []
        for o in outputs:
            group = sorted([o, *(i for i in merged if match[i] == o)])
            total = sum(int(size[i]) for i in group)
            feature = [math.fsum(int(size[i]) * x[i][e] for i in group) / total for e in range(d)]
            expected.append((o, group, feature))
        same_outputs(PRUNERS["tome"]().cut(inside, k), expected)


def flow_scores(values, cls_values, attention, heads):
    width = len(cls_values) // heads
    everyone = [cls_values, *values]
    likeness = [0.0] * len(values)
    for h in range(heads):
        part = [row[h * width : (h + 1) * width] for row in everyone]
        weights = [math.exp(dot(part[0], row)) for row in part]
        for i in range(len(values)):
            likeness[i] += weights[i + 1] / sum(weights) / heads
    norms = [sum(abs(v) for v in heads_mean(row, heads)) for row in values]
    return [(attention[i] / sum(attention) + likeness[i] / sum(likeness)) * norms[i] for i in range(len(values))]


@pytest.mark.parametrize(("seed", "flavour", "n", "d"), cases(n=40))
def test_flowcut(seed, flavour, n, d):
    rng = np.random.default_rng(seed)
    memo, alive, running, target, layers = {}, list(range(n)), {}, 9, 7
    schedule = PRUNERS["flowcut"]().early(layers, n, target)
    for depth in range(-layers, 0):
        values = tokens(rng, len(alive), d, flavour if len(alive) > 12 else "plain") / 2
        cls_values, attention = rng.integers(-32, 33, d) / 64, scores(rng, len(alive), flavour)
        layer, remaining = layers + depth, layers - 2 - (layers + depth)
        if len(alive) <= target:
            assert depth not in schedule or schedule[depth] >= len(alive)
            continue
        told = flow_scores(values.tolist(), cls_values.tolist(), attention.tolist(), 3)
        running = {i: told[p] if layer == 0 else (running[i] + told[p]) / 2 for p, i in enumerate(alive)}
        left = len(alive)
        if remaining == 0:
            left = target
        elif remaining > 0 and remaining % 2 == 0:
            share = [v / attention.sum() for v in attention.tolist()]
            spread = -sum(v * math.log(v) for v in share) / math.log(len(alive))
            left = max(target, left - round((left - target) / math.sqrt(remaining) * (1 - spread**2)))
        kept = sorted(descending([running[i] for i in alive])[:left])
        seen = vision(
            tensor(values), values=tensor(values), cls_values=tensor(cls_values[None]), heads=3,
            cls_attention=tensor(attention),
        )  # fmt: skip
        base = view(tensor(values), depth=depth, seen=seen)
        cut = PRUNERS["flowcut"]().cut(View(**{**vars(base), "memo": memo}), schedule[depth])
        assert cut.anchor.tolist() == kept
        alive = [alive[p] for p in kept]
    assert len(alive) == target


@pytest.mark.parametrize("method", ["tome", "flowcut"])
def test_methods_of_the_tower_say_so_at_the_door(method):
    with pytest.raises(ValueError, match="inside the vision tower"):
        PRUNERS[method]().cut(view(torch.randn(9, 4)), 3)
