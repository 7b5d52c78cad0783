"""The figure shows the indices that the model used, fits its page, embeds its fonts and is the same twice."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image
from tiny_models import QUESTION, llava, picture

from trimviz.compare import ask, contest, pick
from trimviz.draw import WIDTHS, figure, raster
from trimviz.draw.colour import mix
from trimviz.draw.figure import lay_out
from trimviz.draw.page import SMALL
from trimviz.draw.picture import with_margin
from trimviz.types import Panel

PLAIN = (200, 90, 40)
METHODS = ("trimtokenator", "random", "uniform")


def runs(image, keep=9, methods=METHODS):
    model = llava()
    return contest(model, ask(model, image, QUESTION), [pick(m, {}) for m in methods], keep, limit=8)


@pytest.fixture(scope="module")
def three():
    return runs(picture())


@pytest.fixture(scope="module")
def plain():
    """A picture of one colour, so that every pixel of a cell is known."""
    return runs(Image.new("RGB", (84, 84), PLAIN), methods=METHODS[:1])[0]


def with_panels(comparison, panels, tokens):
    """The same comparison about several panels, with stages stretched over their tokens."""
    stages = tuple(
        dataclasses.replace(
            s,
            kept=np.resize(s.kept, tokens),
            owner=np.where(np.resize(s.kept, tokens), np.arange(tokens), -1),
            order=None if s.order is None else np.resize(s.order, tokens),
            scores={name: np.resize(v, tokens) for name, v in s.scores.items()},
        )
        for s in comparison.pruned.stages
    )
    return dataclasses.replace(comparison, pruned=dataclasses.replace(comparison.pruned, stages=stages, panels=panels))


def frames(count, rows=4, cols=5):
    return tuple(
        Panel(
            f"frame {i + 1}", picture(100, 80, i), np.arange(rows * cols).reshape(rows, cols) + i * rows * cols,
            np.arange(rows * cols).reshape(rows, cols) >= cols, (0, 0, 100, 80),
        )
        for i in range(count)
    )  # fmt: skip


def test_sidecar_holds_the_indices_that_the_model_used(three, tmp_path):
    files = figure(three, tmp_path / "three.png", dpi=60, command="trimviz figure ...")
    assert [f.name for f in files] == ["three.png", "three.tex", "three.json"] and all(f.is_file() for f in files)
    record = json.loads(files[2].read_text())
    assert record["command"] == "trimviz figure ..."
    assert {"python", "numpy", "torch", "transformers", "matplotlib"} <= set(record["versions"])
    for told, comparison in zip(record["comparisons"], three, strict=True):
        run = comparison.pruned
        assert told["kept"] == run.kept.tolist() and len(told["kept"]) == 9
        assert [s["kept"] for s in told["stages"]] == [np.flatnonzero(s.kept).tolist() for s in run.stages]
        assert (told["method"], told["knobs"], told["budget"]) == (run.method, dict(run.knobs), run.budget)
        assert (told["model"], told["dtype"], told["question"]) == (comparison.model, comparison.dtype, QUESTION)
        assert told["dense"]["ids"] == list(comparison.dense.answer.ids)
        assert told["pruned"]["text"] == run.answer.text
        assert told["processor"]["crop_size"] == {"height": 84, "width": 84}
        assert QUESTION in told["prompt"]
        assert told["panels"][0]["box"] == list(run.panels[0].box)
    first, stage = record["comparisons"][0], three[0].pruned.stages[-1]
    assert first["stages"][-1]["order"] == [int(np.flatnonzero(stage.order == r)[0]) for r in range(9)]
    assert np.array(first["stages"][0]["scores"]["alpha"], np.float32).tolist() == stage.scores["alpha"].tolist()
    assert first["stages"][-1]["film"]["mean similarity"][0] is None
    assert first["stages"][0]["higher"] == {"alpha": "closer to the text"}


@pytest.mark.parametrize("name", ["X^v(1)", "X^v(2)"])
def test_drawing_shows_the_sets_that_the_model_used(plain, tmp_path, name):
    out, width, dpi = tmp_path / "mask.png", 4, 300
    figure(plain, out, panels=(name,), width=width, dpi=dpi)
    pixels = np.asarray(Image.open(out).convert("RGB"), int)
    assert pixels.shape[1] == width * dpi
    stages = plain.pruned.stages
    which = [s.name for s in stages].index(name)
    shown = plain.pruned.panels[0]
    rows, cols = shown.token.shape
    cell = width * dpi / cols
    top = next(y for y in range(pixels.shape[0]) if (pixels[y] != 255).any(axis=1).mean() > 0.9)
    colour = np.array(shown.picture.getpixel((5, 5)))
    seen = np.empty((rows, cols), int)
    strengths = {len(stages): 0.0} | {s: raster.veil(s, len(stages)) for s in range(len(stages))}
    for row in range(rows):
        for col in range(cols):
            pixel = pixels[int(top + (row + 0.28) * cell), int((col + 0.28) * cell)]
            likely = {s: np.abs(mix([255] * 3, colour, v).astype(int) - pixel).max() for s, v in strengths.items()}
            seen[row, col] = min(likely, key=likely.__getitem__)
            assert likely[seen[row, col]] <= 3
    kept = set(shown.token[seen == len(stages)].tolist())
    assert kept == set(np.flatnonzero(stages[which].kept).tolist())
    if which == len(stages) - 1:
        assert kept == set(plain.pruned.kept.tolist()) and len(kept) == 9
        assert set(shown.token[seen == 0].tolist()) == set(np.flatnonzero(~stages[0].kept).tolist())


def cases(three):
    rng = np.random.default_rng(0)
    words = ["a_long$answer{with}", "and", "so", "on,", "Übermaß", "中文"]
    long = " ".join(rng.choice(words, 120))
    verbose = dataclasses.replace(
        three[0],
        question=long,
        diff=(("same", "yes"), ("dense", long), ("pruned", long)),
    )
    return {
        "alone": three[:1],
        "beside": three,
        "verbose": [verbose],
        "verbose beside": [verbose, *three[1:]],
        "two panels": [with_panels(three[0], frames(2), 40)],
        "frames": [with_panels(three[0], frames(8), 160)],
        "frames beside": [with_panels(c, frames(3), 60) for c in three[:2]],
    }


@pytest.mark.parametrize("preset", WIDTHS)
@pytest.mark.parametrize(
    "case", ["alone", "beside", "verbose", "verbose beside", "two panels", "frames", "frames beside"]
)
def test_text_is_at_least_seven_points_and_stays_on_the_page(three, preset, case):
    several = cases(three)[case]
    page = lay_out(several, [c.pruned.method for c in several], None, WIDTHS[preset] * 72, None, "name")
    page.figure.set_dpi(72)
    width, height = page.figure.get_size_inches() * 72
    assert width == pytest.approx(WIDTHS[preset] * 72)
    texts = page.figure.findobj(Text)
    assert len(texts) > 8
    for text in texts:
        assert text.get_fontsize() >= SMALL >= 7
        if text.get_text():
            box = text.get_window_extent()
            assert box.x0 >= -0.6 and box.x1 <= width + 0.6 and box.y0 >= -0.6 and box.y1 <= height + 0.6, text
    said = " ".join(text.get_text().replace("\N{NO-BREAK SPACE}", " ") for text in texts)
    n1 = int(several[0].pruned.stages[0].kept.sum())
    for word in ("k/N", "Question", "Dense", "Pruned", "random llava", "closer to the text", f"= {n1}"):
        assert word in said, word


def test_pdf_embeds_its_fonts_and_each_photograph_once(three, tmp_path):
    out = figure(three, tmp_path / "a.pdf", panels=("input", "stages", "answers"))[0]
    body = out.read_bytes()
    assert b"/FontFile2" in body and b"/Type3" not in body
    images = re.findall(rb"/Subtype /Image", body)
    assert len(images) == 1, "one photograph, drawn in every column"
    assert b"/CreationDate" not in body
    if shutil.which("pdffonts"):
        rows = subprocess.run(["pdffonts", out], capture_output=True, text=True, check=True).stdout.splitlines()[2:]
        assert rows and all(row.split()[-5] == "yes" for row in rows), rows


def test_svg_stores_each_photograph_once_and_needs_no_font(three, tmp_path):
    svg = figure(three, tmp_path / "a.svg", panels=("input", "stages"))[0].read_text()
    shown = 1 + sum(len(c.pruned.stages) for c in three)
    assert svg.count("<image ") == 1 and svg.count('<use xlink:href="#image') == shown
    assert "<text" not in svg and "<title>" in svg
    assert "<dc:date>" not in svg


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_same_inputs_same_bytes(three, tmp_path, kind):
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    one, two = (figure(three, tmp_path / d / f"a.{kind}", dpi=100) for d in "12")
    assert [f.read_bytes() for f in one] == [f.read_bytes() for f in two]


def test_png_has_the_width_and_the_resolution_that_were_asked_for(three, tmp_path):
    for dpi in (300, 600):
        out = figure(three[0], tmp_path / "a.png", width="cvpr-column", dpi=dpi, panels=("kept",))[0]
        with Image.open(out) as shown:
            assert shown.width == round(3.25 * dpi) and shown.info["dpi"][0] == pytest.approx(dpi, abs=0.1)


def test_latex_includes_the_figure_and_escapes_what_was_said(three, tmp_path):
    odd = dataclasses.replace(three[0], question="50% of $x_1$ & {y} #1 ~ ^ \\ ?")
    tex = figure(odd, tmp_path / "my_figure.pdf", width="cvpr-text", panels=("kept",))[1].read_text()
    assert r"\includegraphics{my_figure.pdf}" in tex and r"\begin{figure*}" in tex and r"\label{fig:my-figure}" in tex
    assert r"50\% of \$x\_1\$ \& \{y\} \#1 \textasciitilde{} \textasciicircum{} \textbackslash{} ?" in tex
    talk = dataclasses.replace(odd, before=(("is it red ?", "no"),))
    assert "``is it red ? – no · 50" in figure(talk, tmp_path / "f.pdf", panels=("kept",))[1].read_text()
    column = figure(odd, tmp_path / "my_figure.pdf", width="acl-column", panels=("kept",))[1].read_text()
    assert r"\begin{figure}" in column


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"panels": ("heat",)}, r"no panel 'heat'; choose among .*alpha"),
        ({"width": "poster"}, "Expected a width of cvpr-column"),
        ({"width": 0.5}, "Expected a width"),
        ({"columns": 9, "width": "cvpr-column"}, "fewer columns"),
        ({"labels": ("a", "b")}, "Expected 1 labels"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(plain, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        figure(plain, tmp_path / "a.pdf", **options)
    assert not list(tmp_path.iterdir())


def test_wrong_suffix_empty_list_and_missing_order(three, tmp_path):
    with pytest.raises(ValueError, match=r"\.pdf, \.svg or \.png"):
        figure(three, tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="at least one comparison"):
        figure([], tmp_path / "a.pdf")
    with pytest.raises(ValueError, match="nothing to draw for the panel 'order'"):
        figure(three[2], tmp_path / "a.pdf", panels=("order",))


def test_several_columns_say_whether_their_colours_compare(three):
    def said(several):
        page = lay_out(several, [c.pruned.method for c in several], None, 495, None, "name")
        return " ".join(text.get_text() for text in page.figure.findobj(Text))

    assert "All scores share one colour scale." in said([three[0], three[0]])
    stages = tuple(
        dataclasses.replace(s, scores={"attention": s.scores["alpha"]}, higher={}) for s in three[0].pruned.stages
    )
    other = dataclasses.replace(three[0], pruned=dataclasses.replace(three[0].pruned, stages=stages))
    words = said([three[0], other])
    assert "Scores of different names have different colour scales." in words and "higher attention" in words


def test_what_the_crop_took_away_is_shown_and_counted(tmp_path):
    original = Image.new("RGB", (240, 120), PLAIN)
    (comparison,) = runs(original, methods=METHODS[:1])
    (panel,) = comparison.pruned.panels
    cropped = (0.0, 0.0, 180.0, 120.0)
    panel = dataclasses.replace(panel, box=cropped)
    comparison = dataclasses.replace(comparison, pruned=dataclasses.replace(comparison.pruned, panels=(panel,)))
    page = lay_out([comparison], ["method"], None, 400, None, "stem", [original])
    words = " ".join(text.get_text() for text in page.figure.findobj(Text))
    assert re.search(r"25\.0\s?% of the picture was cropped away", words.replace("\N{NO-BREAK SPACE}", " "))
    without = lay_out([comparison], ["method"], None, 400, None, "stem")
    assert "cropped" not in " ".join(text.get_text() for text in without.figure.findobj(Text))
    shown = np.asarray(with_margin(panel, original).picture)
    assert shown.shape == (120, 240, 3), "the whole original"
    assert (shown[60, 90] == PLAIN).all(), "what the model saw, as it is"
    assert shown[60, 220].min() > 150 and np.ptp(shown[60, 220]) == 0, "what it never saw, grey under a veil"
    whole = dataclasses.replace(panel, box=(0.0, -60.0, 240.0, 180.0))  # padded, not cropped
    assert with_margin(whole, original) is whole
    files = figure(comparison, tmp_path / "crop.png", dpi=60, originals=[original])
    assert (
        files[0].read_bytes() == figure(comparison, tmp_path / "crop.png", dpi=60, originals=[original])[0].read_bytes()
    )
