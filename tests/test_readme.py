"""The README against the project: tables against the lists, snippets run, links and front matter hold."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import yaml
from packaging.requirements import Requirement
from typer.testing import CliRunner

from trimviz import MODELS, PRUNERS, compare
from trimviz.__main__ import cli
from trimviz.pruners import Pruner

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("assets/**/*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets(language: str) -> list[str]:
    return [code for tag, code in FENCE.findall(README) if tag == language]


def front_matter() -> dict[str, Any]:
    return yaml.safe_load(README.split("---\n")[1])


def printed(command: str) -> list[str]:
    """The rows of a table that the command line prints for the README."""
    out = CliRunner().invoke(cli, [command, "--markdown"])
    assert out.exit_code == 0, out.output
    return out.output.strip().splitlines()[2:]


def test_every_method_has_a_true_row() -> None:
    rows = printed("methods")
    assert len(rows) == len(PRUNERS)
    for row in rows:
        found = [line for line in README.splitlines() if line.startswith(row)]
        assert found, f"README.md lacks this row of `trimviz methods --markdown`:\n{row}"
        checked = found[0].removeprefix(row).strip(" |")
        files = re.findall(r"\]\((tests/\w+\.py)\)", checked)
        assert files, f"say what the method is checked by, with a link to the test: {found[0]}"
    listed = re.findall(r"^\|[^|]+\| `([\w-]+)` \|.*\(trimviz/pruners/", README, re.MULTILINE)
    assert listed == list(PRUNERS)


def test_every_method_is_checked_where_the_readme_says() -> None:
    for key, pruner in PRUNERS.items():
        row = next(line for line in README.splitlines() if line.startswith("|") and f"| `{key}` |" in line)
        names = re.findall(r"\]\((tests/\w+\.py)\)", row)
        sources = [(ROOT / name).read_text(encoding="utf-8") for name in names]
        assert any(pruner.__name__ in s or f'"{key}"' in s for s in sources), f"{names} never mention {pruner.__name__}"


def test_every_family_has_a_true_row() -> None:
    rows = printed("models")
    assert len(rows) == len(MODELS)
    for row in rows:
        found = [line for line in README.splitlines() if line.startswith(row)]
        assert found, f"README.md lacks this row of `trimviz models --markdown`:\n{row}"
    for family in MODELS.values():
        row = next(line for line in README.splitlines() if f"| `{family.model_type}` |" in line)
        assert ("videos" in row.rsplit("|", 2)[1]) == family.takes_video, f"say what was verified: {row}"


def test_the_library_snippet_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = [code for code in snippets("python") if "trimviz.load" in code]
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith("import ")]
    assert len(lines) <= 6
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(code, names)
    dense, pruned, badge = capsys.readouterr().out.splitlines()[0].split(" | ")
    result = names["result"]
    assert dense == result.dense.answer.text
    assert dense, "the bundled model says nothing"
    assert pruned == result.pruned.answer.text
    assert badge == result.badge
    assert len(result.pruned.kept) == round(0.111 * result.n)


def test_the_method_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [code for code in snippets("python") if "(Pruner)" in code]
    written = [line for line in code.splitlines() if line.strip()]
    assert len(written) <= 20
    (tmp_path / "smallest.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import smallest  # type: ignore[import-not-found]

    kind = smallest.SmallestNorm
    assert issubclass(kind, Pruner)
    model, picture = tiny_models.llava(), tiny_models.picture()
    prompt = model.encode(picture, tiny_models.QUESTION)
    norm = prompt.embeds[prompt.visual].norm(dim=1)
    for longest in (False, True):
        result = compare(model, picture, tiny_models.QUESTION, method=kind.make({"longest": longest}), keep=5, limit=3)
        assert result.pruned.kept.tolist() == sorted(norm.argsort(descending=longest, stable=True)[:5].tolist())
        assert result.pruned.visual_alive.tolist() == [5] * len(model.layers)
    assert kind.key not in PRUNERS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_and_picture_exists(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    for target in targets:
        if not re.match(r"https?://|#|mailto:", target):
            assert (page.parent / target.split("#")[0]).exists(), f"{page.name} links {target}, which is not there"


def test_pictures_of_the_commands_exist() -> None:
    used = re.findall(r"assets/[\w./-]+\.(?:png|jpg)", README)
    assert used
    for name in used:
        assert (ROOT / name).is_file(), f"README.md uses {name}, which is not there"


def test_front_matter_is_what_spaces_takes() -> None:
    card = front_matter()
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {card["colorFrom"], card["colorTo"]} <= colours
    assert card["sdk"] == "gradio"
    assert len(card["short_description"]) <= 60
    assert (ROOT / card["app_file"]).is_file()
    assert card["license"] == "apache-2.0"
    assert card["models"] == [c for m in MODELS.values() for c in m.checkpoints]
    for line in card["preload_from_hub"]:
        repo, files, commit = line.split()
        assert repo in card["models"] and "config.json" in files.split(",")
        assert re.fullmatch(r"[0-9a-f]{40}", commit), "a branch moves"
    assert card.get("thumbnail", "https://").startswith("https://")  # Spaces takes an address, not a path


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_spaces_installs_what_is_tested() -> None:
    """Gradio's version in the front matter is the pinned one, and every pin is inside its range."""
    card, pinned = front_matter(), pins()
    assert card["sdk_version"] == pinned["gradio"]
    assert card["python_version"] == "3.11"
    wanted = [
        Requirement(line) for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if line[0] != "#"
    ]
    for need in wanted:
        name = need.name.replace("_", "-")
        assert need.specifier.contains(pinned[name]), f"{need} excludes the tested {pinned[name]}"
        assert version(need.name).split("+")[0] == pinned[name], f"{need.name} here is not the pinned one"


def test_requirements_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(lines[1:]) == sorted([*project["dependencies"], *project["optional-dependencies"]["app"]])
