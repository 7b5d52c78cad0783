"""The dataset tab without a browser: files that arrive, nothing beside them, and that its numbers are the library's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_models import QUESTION, llava, picture

from trimviz import compare
from trimviz.ui.dataset import PICTURES, QUESTIONS, SETTINGS, asked, collect, settings_of
from trimviz.ui.service import Service

pytest.importorskip("pandas", reason="needs the packages of an evaluation")


@pytest.fixture
def uploads(tmp_path: Path) -> list[str]:
    """Two pictures, each in a folder of its own, as uploads lie on the server."""
    paths = []
    for seed in range(2):
        path = tmp_path / f"upload{seed}" / f"picture {seed}.png"
        path.parent.mkdir()
        picture(seed=seed).save(path)
        paths.append(str(path))
    return paths


def written(folder: Path, lines: list[object], name: str = "asked.jsonl") -> str:
    path = folder / name
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return str(path)


def test_pictures_and_one_question(uploads: list[str], tmp_path: Path) -> None:
    data = collect(uploads, QUESTION, tmp_path / "given")
    assert [(s.id, s.question, s.answers) for s in data.samples] == [
        ("picture 0.png", QUESTION, ()), ("picture 1.png", QUESTION, ())
    ]  # fmt: skip
    for sample, path in zip(data.samples, uploads, strict=True):
        assert sample.open()[0].tobytes() == picture(seed=uploads.index(path)).tobytes()


def test_a_jsonl_names_the_uploads_whatever_folders_it_thinks_of(uploads: list[str], tmp_path: Path) -> None:
    lines = [
        {"image": "C:\\data\\picture 1.png", "question": QUESTION, "answer": ["a", "b"], "id": "x"},
        "",
        {"image": ["../elsewhere/picture 0.png"], "question": "what ?"},
    ]
    first, second = collect([*uploads, written(tmp_path, lines)], "", tmp_path / "given").samples
    assert (first.id, first.answers, second.id, second.task) == ("x", ("a", "b"), "3", "asked")
    assert first.open()[0].tobytes() == picture(seed=1).tobytes()
    assert second.open()[0].tobytes() == picture(seed=0).tobytes()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"image": "/etc/passwd", "question": "q"}, "Line 1 names '/etc/passwd', which is not among"),
        ({"image": "../../secret.png", "question": "q"}, "not among the dropped files"),
        ({"image": "..", "question": "q"}, "not among"),
        ({"image": 3, "question": "q"}, "not among"),
        ({"video": "film.mp4", "question": "q"}, "not among"),
        ({"question": "q"}, "either image or video"),
        ("{", "not valid JSON"),
        ("[1]", "expected an object"),
        ({"image": "picture 0.png", "question": ""}, "expected question"),
        ("", "is empty"),
    ],
)
def test_a_line_that_cannot_be_used_is_a_sentence(uploads: list[str], tmp_path: Path, line: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        collect([*uploads, written(tmp_path, [line])], "", tmp_path / "given")


def test_files_beyond_the_bounds_are_refused(uploads: list[str], tmp_path: Path) -> None:
    def refused(words: str, paths: list[str], question: str = QUESTION) -> None:
        with pytest.raises(ValueError, match=words):
            collect(paths, question, tmp_path / words.replace(" ", ""))

    lists = [written(tmp_path, [], f"{name}.jsonl") for name in "ab"]
    record = {"image": "picture 0.png", "question": "q"}
    refused("no pictures", [])
    refused("no pictures", lists[:1])
    refused("2 JSONL files", [*uploads, *lists])
    refused("same name", [*uploads, uploads[0].replace("upload0", "other")])
    refused(f"at most {PICTURES}", [f"/nowhere/{i}.png" for i in range(PICTURES + 1)])
    refused("Expected a question", uploads, "  ")
    refused(f"more than {QUESTIONS}", [*uploads, written(tmp_path, [record] * (QUESTIONS + 1))])
    refused("larger than 2 MiB", [*uploads, written(tmp_path, [record | {"note": "x" * 2**21}])])


def test_settings_are_methods_times_budgets() -> None:
    assert [s.name for s in settings_of(["random", "uniform"], "9, 50%")] == [
        "random@9", "random@50%", "uniform@9", "uniform@50%"
    ]  # fmt: skip
    with pytest.raises(ValueError, match="tick at least one"):
        settings_of([], "9")
    with pytest.raises(ValueError, match="at least one"):
        settings_of(["random"], " , ")
    with pytest.raises(ValueError, match=f"at most {SETTINGS}"):
        settings_of(["random"], ",".join(map(str, range(1, SETTINGS + 2))))


def test_the_page_tells_what_the_library_finds(uploads: list[str], tmp_path: Path) -> None:
    service, chosen = Service(llava()), settings_of(["divprune"], "9")
    data = collect(uploads, QUESTION, tmp_path / "given")
    *steps, page = asked(service, tmp_path / "results", data, chosen, lambda: False)
    assert steps == [None, None] and page is not None
    for path in uploads:
        found = compare(service.model, path, QUESTION, "divprune", 9)
        assert f"{found.kl.mean():.3f}" in page and found.pruned.answer.text in page
        assert found.dense.answer.text in page and ("differs" in page) == (not found.same)
    assert page.count("9 of 36 patches kept") == 2
    for name in ("samples.csv", "summary.csv", "report.html"):
        assert (tmp_path / "results" / name).stat().st_size > 0


def test_it_stops_between_samples_and_says_no_more(uploads: list[str], tmp_path: Path) -> None:
    data = collect(uploads, QUESTION, tmp_path / "given")
    wanted = iter([False, True])
    steps = list(asked(Service(llava()), tmp_path / "r", data, settings_of(["random"], "9"), lambda: next(wanted)))
    assert steps == [None, None]
