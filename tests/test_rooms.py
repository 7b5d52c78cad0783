"""Who may import whom, and who may name whom, read from the source with `ast`; nothing is imported to find out."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from trimviz import MODELS, PRUNERS

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("trimviz/**/*.py"), ROOT / "app.py"] if path.is_file()
)
LISTS = {"trimviz/pruners/__init__.py", "trimviz/models/__init__.py"}
PAGES = sorted(path for kind in ("html", "css", "js") for path in ROOT.glob(f"trimviz/**/*.{kind}"))

MODEL_SIDE = ("torch", "transformers")
WINDOW = ("gradio", "spaces")

# By the longest start of the path: what a room must not import, and the only parts of trimviz that it may import.
ROOMS: dict[str, tuple[tuple[str, ...], tuple[str, ...] | None]] = {
    "trimviz/types.py": (("transformers", *WINDOW, "matplotlib"), ()),
    "trimviz/pictures.py": ((*MODEL_SIDE, *WINDOW, "matplotlib"), ("types",)),
    "trimviz/fused.py": (("transformers", *WINDOW, "matplotlib"), ()),
    "trimviz/select.py": (("transformers", *WINDOW, "matplotlib"), ("types", "fused")),
    "trimviz/pruners/": (("transformers", *WINDOW, "matplotlib"), ("types", "select", "pruners")),
    "trimviz/chosen.py": (("transformers", *WINDOW, "matplotlib"), ("types", "select", "pruners")),
    "trimviz/tiles.py": (("transformers", *WINDOW, "matplotlib"), ("types", "select")),
    "trimviz/tape.py": ((*WINDOW, "matplotlib"), ("types",)),
    "trimviz/eye.py": ((*WINDOW, "matplotlib"), ("types", "tape", "models", "pruners")),
    "trimviz/engine.py": ((*WINDOW, "matplotlib"), ("types", "tape", "tiles", "eye", "models", "pruners")),
    "trimviz/models/": ((*WINDOW, "matplotlib"), ("types", "tape", "eye", "pictures", "models")),
    "trimviz/compare.py": ((*WINDOW, "matplotlib"), ("types", "pictures", "video", "engine", "models", "pruners")),
    "trimviz/draw/": ((*MODEL_SIDE, *WINDOW), ("types", "draw")),
    "trimviz/tiny/": (WINDOW, None),
    "trimviz/bench/": (WINDOW, None),
    "trimviz/ui/": (MODEL_SIDE, None),
    "app.py": (MODEL_SIDE, None),
    "trimviz/": (WINDOW, None),
}


def room(path: str) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The rules for a file."""
    return ROOMS[max((start for start in ROOMS if path.startswith(start)), key=len)]


def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), path)


def imports(path: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything that a file imports anywhere in it, but for what only the type checker sees."""
    module = tree(path)
    for_types = {
        id(inner)
        for node in ast.walk(module)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for outer in node.body
        for inner in ast.walk(outer)
    }
    for node in ast.walk(module):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.split("/")[: -node.level] if node.level else []
            start = ".".join([*package, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def file_of(entry: type) -> str:
    """The file that defines an entry of a list."""
    return entry.__module__.replace(".", "/") + ".py"


@pytest.mark.parametrize("path", FILES)
def test_a_room_imports_only_what_it_may(path: str) -> None:
    banned, allowed = room(path)
    for line, name in imports(path):
        assert not any(within(name, b) for b in banned), f"{path}:{line} imports {name}, which this room must not"
        if allowed is not None and within(name, "trimviz") and name.count("."):
            assert name.split(".")[1] in (*allowed, "__version__"), (
                f"{path}:{line} imports {name}; this room may import {allowed}"
            )


@pytest.mark.parametrize("path", [f for f in FILES if f not in LISTS])
def test_no_method_or_model_is_imported_by_name(path: str) -> None:
    """Kin may extend kin: a method's file may import another method's, a family's file another family's."""
    for entries, kin in ((PRUNERS, "trimviz/pruners/"), (MODELS, "trimviz/models/")):
        if path.startswith(kin):
            continue
        modules = {entry.__module__ for entry in entries.values()}
        for line, name in imports(path):
            assert not any(within(name, m) for m in modules), f"{path}:{line} imports {name}; read the list instead"


@pytest.mark.parametrize("path", [f for f in FILES if f not in LISTS])
def test_no_method_or_model_is_named_outside_its_file(path: str) -> None:
    """Neither a class by its identifier, nor a key, display name or checkpoint as a string of its own."""
    classes, words = set(), set()
    for entries, kin in ((PRUNERS, "trimviz/pruners/"), (MODELS, "trimviz/models/")):
        for entry in entries.values():
            if not path.startswith(kin):
                classes.add(entry.__name__)
            if path != file_of(entry):
                words |= {entry.name, getattr(entry, "key", entry.name), *getattr(entry, "checkpoints", ())}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Name):
            assert node.id not in classes, f"{path}:{node.lineno} names {node.id}; read the list instead"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert node.value not in words, f"{path}:{node.lineno} names {node.value!r}; read the list instead"


@pytest.mark.parametrize(
    "path", [f for f in FILES if not f.startswith(("trimviz/models/", "trimviz/tiny/", "trimviz/bench"))]
)
def test_no_grid_size_is_typed_outside_the_models(path: str) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            assert node.value not in (24, 336, 576), f"{path}:{node.lineno} types {node.value}; ask the model instead"


def test_the_page_names_no_method_and_no_model() -> None:
    words = {p.key for p in PRUNERS.values()} | {e.name for e in PRUNERS.values()} | {m.name for m in MODELS.values()}
    for page in PAGES:
        quoted = set(re.findall(r"""["'`]([^"'`\n]+)["'`]""", page.read_text(encoding="utf-8")))
        assert not quoted & words, f"{page.relative_to(ROOT)} names {quoted & words}"


def test_every_file_of_a_room_is_on_its_list() -> None:
    """A method or family that nobody can choose is dead code."""
    lists: dict[str, Mapping[str, type]] = {"pruners": PRUNERS, "models": MODELS}
    for folder, entries in lists.items():
        listed = {file_of(entry) for entry in entries.values()}
        for path in FILES:
            if not path.startswith(f"trimviz/{folder}/") or path in LISTS:
                continue
            module = importlib.import_module(path[:-3].replace("/", "."))
            named = [
                n.name for n in tree(path).body if isinstance(n, ast.ClassDef) and hasattr(vars(module)[n.name], "name")
            ]
            assert path in listed or not named, f"{path} defines {named}, which no list holds"


def test_the_checks_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule on a file that breaks it."""
    (tmp_path / "trimviz" / "draw").mkdir(parents=True)
    bad = "trimviz/draw/bad.py"
    key, entry = next(iter(PRUNERS.items()))
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    for source, check in (
        ("import torch.nn", test_a_room_imports_only_what_it_may),
        ("def f():\n    from trimviz.engine import prefill", test_a_room_imports_only_what_it_may),
        (f"from {entry.__module__} import {entry.__name__}", test_no_method_or_model_is_imported_by_name),
        (f"import {entry.__module__}", test_no_method_or_model_is_imported_by_name),
        (f"method = {key!r}", test_no_method_or_model_is_named_outside_its_file),
        (f"method = {entry.__name__}()", test_no_method_or_model_is_named_outside_its_file),
        ("side = 336 // 14", test_no_grid_size_is_typed_outside_the_models),
    ):
        (tmp_path / bad).write_text(source, encoding="utf-8")
        with pytest.raises(AssertionError):
            check(bad)
