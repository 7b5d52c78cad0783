"""The lens draws what the model used: its payload, read by the browser's own modules, against runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import QUESTION, llava, picture

from trimviz import engine
from trimviz.compare import answer, finish, judge, order_table, pick, with_size
from trimviz.explain import FACTORS, UNRELATED, WHOLE, Explanation, Similarity, _similarity, explain
from trimviz.pruners import PRUNERS, OrderTable
from trimviz.select import cosine, repmax_table
from trimviz.types import Answer, Panel, Run, Stage
from trimviz.ui import lens as component
from trimviz.ui.lens.export import export
from trimviz.ui.lens.payload import pack, payload, unpack

HERE = Path(__file__).parent
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")
BOUND = 500_000  # bytes of a payload with up to WHOLE tokens


def drawn(value, pairs):
    """What the browser's modules make of a payload for each (n1, k)."""
    done = subprocess.run(
        [NODE, HERE / "lens" / "kept.mjs"],
        input=json.dumps({"payload": value, "pairs": pairs}),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout)


def told(method="trimtokenator", budget=9, image=None, question=QUESTION, **knobs):
    """A comparison on a tiny model with everything the payload asks for."""
    model, image = llava(), image or picture()
    look = model.look([image])
    prompt, pruner = model.prompt(look, question), pick(method, knobs)
    pruned = finish(answer(model, prompt, pruner, budget, limit=4))
    comparison = judge(model, prompt, finish(answer(model, prompt, limit=4)), pruned)
    return comparison, order_table(model, prompt, pruner), explain(model, look, prompt, pruner, pruned.run), prompt


@needs_node
def test_modules_pass_their_own_tests():
    files = sorted(str(path) for path in (HERE / "lens").glob("*.test.mjs"))
    assert len(files) >= 5
    done = subprocess.run([NODE, "--test", *files], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_node
@pytest.mark.parametrize(
    "knobs", [{}, {"stages": "swapped"}, {"stages": "diversity"}, {"align": "cos", "diversity": "l2"}], ids=str
)
def test_every_slider_position_shows_what_the_model_used(knobs):
    comparison, table, explanation, prompt = told(**knobs)
    value = payload(comparison, table, explanation, QUESTION, [picture()])
    model, n = llava(), prompt.n
    pairs = [(n1, k) for n1 in range(2, n + 1) for k in {1, n1 // 2, min(n, n1 + 5)}]
    for (n1, k), seen in zip(pairs, drawn(value, pairs), strict=True):
        pruner = pick("trimtokenator", knobs | {"n1": n1})
        stages = engine.prefill(model, prompt, pruner, k).stages
        kept = np.flatnonzero(stages[-1].kept) if stages else np.arange(n)
        assert seen["kept"] == kept.tolist(), f"n1 {n1}, k {k}"
        if stages:
            picks = stages[-1].order
            assert seen["order"] == sorted(kept.tolist(), key=lambda token: picks[token])
        if len(stages) > 1:
            assert seen["stages"] == [int(stage.kept.sum()) for stage in stages]


@needs_node
def test_a_size_that_was_not_tabulated_is_added_exactly():
    model = llava()
    prompt = model.encode(picture(), QUESTION)
    pruner = pick("trimtokenator", {"n1": 19})
    whole = order_table(model, prompt, pruner)
    few = OrderTable(whole.sizes[9::10], whole.first, whole.orders[9::10])
    more = with_size(model, prompt, pruner, few, 19)
    assert more.sizes.tolist() == sorted([*few.sizes.tolist(), 19])
    for size, order in zip(more.sizes.tolist(), more.orders, strict=True):
        assert order.tolist() == whole.orders[size - 1].tolist(), size
    assert with_size(model, prompt, pruner, more, 19) is more
    run = finish(answer(model, prompt, pruner, 9, limit=1)).run
    value = payload(run, few, None, QUESTION, [picture()])
    near, exact = drawn(value, [(19, 9)])[0], drawn(payload(run, more, None, QUESTION, [picture()]), [(19, 9)])[0]
    assert near["n1"] == 20, "until it has come, the nearest one is shown"
    assert exact["kept"] == run.kept.tolist()


@needs_node
@pytest.mark.parametrize("method", PRUNERS)
def test_every_method_shows_the_set_of_its_run(method):
    model = llava()
    look = model.look([picture()])
    prompt = model.prompt(look, QUESTION)
    pruner = pick(method, {})
    for budget in (25, 30):
        run = finish(answer(model, prompt, pruner, budget, limit=1)).run
        value = payload(
            run, order_table(model, prompt, pruner), explain(model, look, prompt, pruner, run), QUESTION, [picture()]
        )
        (seen,) = drawn(value, [(value["run"]["n1"], value["run"]["k"])])
        assert seen["kept"] == run.kept.tolist()
        assert unpack(value["run"]["kept"]).tolist() == run.kept.tolist()


@needs_node
def test_curve_equals_the_means_of_the_run():
    comparison, table, explanation, _ = told(budget=20)
    value = payload(comparison, table, explanation, QUESTION, [picture()])
    (seen,) = drawn(value, [(value["run"]["n1"], value["run"]["k"])])
    means = comparison.pruned.stages[-1].film["mean similarity"]
    np.testing.assert_allclose(seen["curve"][1:], means[1:], atol=explanation.similarity.error + 1e-6)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.uint16, np.int16, np.int32, np.float32])
def test_arrays_survive_the_journey(dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    assert (unpack(pack(array)) == array).all()


def test_an_array_without_a_name_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="convert it first"):
        pack(np.zeros(3))


def test_words_average_to_the_alignment():
    """Equation 3 averages over the question's tokens; here every word is one token."""
    comparison, _, explanation, prompt = told()
    assert list(explanation.words) == QUESTION.split()
    assert explanation.distances.shape == (len(explanation.words), prompt.n)
    np.testing.assert_allclose(-explanation.distances.mean(0), comparison.pruned.stages[0].scores["alpha"], rtol=1e-5)


def test_words_of_several_tokens_stay_one_word():
    explanation = told(question="what?is the picture")[2]
    assert explanation.words == ("what?is", "the", "picture")


def test_norms_correlation_and_overlap_against_slow_computations():
    comparison, _, explanation, prompt = told(budget=9, n1=20)
    visual = prompt.embeds[prompt.visual]
    np.testing.assert_allclose(explanation.norms, visual.norm(dim=1).numpy(), rtol=1e-6)
    alpha = comparison.pruned.stages[0].scores["alpha"]
    ranks = [np.argsort(np.argsort(values)) for values in (alpha, -explanation.norms)]
    assert explanation.correlation["alpha"] == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-6)
    model = llava()
    other = engine.prefill(
        model, model.prompt(model.look([picture()]), UNRELATED), pick("trimtokenator", {"n1": 20}), 9
    )
    shared = set(np.flatnonzero(comparison.pruned.stages[0].kept)) & set(np.flatnonzero(other.stages[0].kept))
    assert explanation.overlap == pytest.approx(len(shared) / 20)
    np.testing.assert_array_equal(explanation.unrelated_scores["alpha"], other.stages[0].scores["alpha"])


def test_similarities_are_as_exact_as_they_say():
    few = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    small = _similarity(few)
    rows, columns = np.triu_indices(40, 1)
    np.testing.assert_allclose(small.triangle / 127, cosine(few).numpy()[rows, columns], atol=small.error + 1e-6)
    assert small.error <= 0.5 / 127 + 1e-6
    many = torch.randn(WHOLE + 1, FACTORS, generator=torch.Generator().manual_seed(1))
    large = _similarity(many)
    assert large.triangle is None and large.factors.shape == (WHOLE + 1, FACTORS)
    full = large.factors.astype(float) * large.scale[:, None]
    exact = cosine(many).numpy()
    assert np.abs(full @ full.T - exact).max() < 0.05
    assert large.error == pytest.approx(np.abs(full @ full.T - exact).max(), rel=0.5)


def test_a_dense_run_has_everything_kept():
    model = llava()
    prompt = model.encode(picture(), QUESTION)
    run = finish(answer(model, prompt, limit=1)).run
    value = payload(run, None, None, QUESTION, [picture()])
    assert value["stages"] == [] and value["run"]["k"] == value["n"] == prompt.n


def test_originals_belong_to_their_panels():
    comparison, table, explanation, _ = told()
    assert payload(comparison, table, explanation, QUESTION, [picture()])["panels"][0]["original"] == 0
    assert payload(comparison, table, explanation, QUESTION, [])["panels"][0]["original"] == -1


def synthetic(rows: int, cols: int, seed: int = 0):
    """A run, table and explanation as large as those of a grid of tokens; random, so hard to compress."""
    rng = torch.Generator().manual_seed(seed)
    n = rows * cols
    features = torch.randn(n, 48, generator=rng)
    rank = torch.randperm(n, generator=rng)
    sizes = torch.arange(1, n + 1) if n <= WHOLE else torch.arange(1, 101) * n // 100
    table_rows = repmax_table(cosine(features), rank, sizes)
    table = OrderTable(
        sizes.numpy(), rank.numpy(), tuple(row[:m].numpy() for row, m in zip(table_rows, sizes.tolist(), strict=True))
    )
    kept = np.zeros(n, bool)
    kept[table.orders[-1][: n // 9]] = True
    owner = np.where(kept, np.cumsum(kept) - 1, -1)
    scores = {"alpha": torch.randn(n, generator=rng).numpy()}
    order = np.full(n, -1)
    order[table.orders[-1][: n // 9]] = np.arange(n // 9)
    stages = (
        Stage("first", 0, np.ones(n, bool), np.arange(n), None, scores),
        Stage("last", 0, kept, owner, order, scores),
    )
    photo = Image.open(HERE.parent / "assets" / "examples" / "astronaut.jpg").convert("RGB")
    shown = photo.resize((14 * cols, 14 * rows))
    panel = Panel("image", shown, np.arange(n).reshape(rows, cols), np.ones((rows, cols), bool), (0, 0, *photo.size))
    run = Run(
        "random",
        {},
        n / 9,
        Answer((), "", np.zeros(0), True),
        stages,
        np.full(4, n),
        np.full(4, n),
        {},
        0.0,
        0,
        (panel,),
    )
    words = tuple(f"word{i}" for i in range(12))
    distances = torch.rand(len(words), n, generator=rng).numpy()
    similarity: Similarity = _similarity(features)
    explanation = Explanation(
        words, distances, np.ones(n, np.float32), similarity, {"alpha": 0.5}, UNRELATED, {"alpha": scores["alpha"]}, 0.5
    )
    return run, table, explanation, photo


def test_payload_of_many_tokens_stays_small():
    run, table, explanation, photo = synthetic(24, 24)
    size = len(json.dumps(payload(run, table, explanation, "?", [photo])))
    assert size <= BOUND, f"{size} bytes"


def test_component_script_has_no_imports_and_no_name_twice():
    for names in (component.LENS, component.CONTROLS):
        text = component.script(names)
        assert "\nimport " not in text and "\nexport " not in text
        tops = [
            line.split("(")[0].split("=")[0]
            for line in text.splitlines()
            if line.startswith(("function ", "const ", "async "))
        ]
        assert len(tops) == len(set(tops))
    assert set(component.LENS) | set(component.CONTROLS) == {path.name for path in component.FOLDER.glob("*.js")}


def test_export_is_one_file_that_asks_for_nothing():
    comparison, table, explanation, _ = told()
    text = export(payload(comparison, table, explanation, "</script><b>?", [picture()]), "A <title>")
    assert "A &lt;title&gt;" in text and text.count("</script>") == 2
    assert not re.search(r"(src|href)\s*=|url\(|https?://|\bfetch\(|@import", text.replace("image.src = source", ""))


def test_templates_hold_nothing_that_gradio_would_fill_in():
    for path in [*component.FOLDER.glob("*.html"), *component.FOLDER.glob("*.css")]:
        text = path.read_text("utf-8")
        assert not any(mark in text for mark in ("{{", "`", "${")), path.name
