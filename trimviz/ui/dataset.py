"""The dataset tab: many questions or many pictures at once, by the library's evaluation, and its files to take away."""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import gradio as gr

from trimviz.compare import LIMIT
from trimviz.evaluate.cli import NEEDED
from trimviz.pruners import PRUNERS
from trimviz.types import Stage
from trimviz.ui.events import PRIVATE, SECONDS_A_TOKEN, TURN, UNTOUCHED, told
from trimviz.ui.service import LONGEST, Service
from trimviz.ui.spaces import gpu
from trimviz.ui.text import veiled

if TYPE_CHECKING:
    from trimviz.evaluate.data import Data
    from trimviz.evaluate.settings import Setting
    from trimviz.evaluate.tables import Table

SECONDS = 20  # of lent GPU time, before anything is measured
PICTURES = 50  # uploaded at once
QUESTIONS = 200  # lines of a JSONL
TEXT = 2**21  # bytes of a JSONL
SETTINGS = 25  # methods times budgets
CHANGED = 8  # samples shown below the table
FILES = ("samples.csv", "summary.csv", "report.html")


@dataclass(frozen=True)
class Tab:
    """The components of the tab."""

    files: gr.Files
    question: gr.Textbox
    methods: gr.CheckboxGroup
    keeps: gr.Textbox
    start: gr.Button
    stop: gr.Button
    found: gr.HTML
    out: gr.Files


def build(service: Service) -> Tab:
    """Lay the tab out."""
    gr.HTML(
        f'<p class="quiet">Drop up to {PICTURES} pictures and ask one question about all of them; or a JSONL with one '
        'object a line, <code>{"image": "name.png", "question": "…", "answer": "…"}</code>, the answer being optional, '
        "together with the pictures that it names.</p>",
        apply_default_css=False,
    )
    with gr.Row(elem_id="dataset-what"):
        files = gr.Files(
            label="Pictures, or a JSONL with its pictures",
            file_types=["image", ".jsonl"],
            height=150,
            elem_id="dataset-files",
        )
        with gr.Column():
            question = gr.Textbox(
                label="Question about every picture, where there is no JSONL",
                max_length=5000,
                elem_id="dataset-question",
            )
            keeps = gr.Textbox(
                "11.1%, 33.3%", label="Keep: counts or percentages", max_length=200, elem_id="dataset-keep"
            )
    fits = [(PRUNERS[key].name, key) for key, reason in service.methods().items() if not reason]
    methods = gr.CheckboxGroup(
        fits, value=[key for _, key in fits[:2]], label="Methods", elem_id="dataset-methods", elem_classes="methods"
    )
    with gr.Row(elem_id="dataset-go"):
        start = gr.Button("Evaluate", variant="primary", elem_id="dataset-start", scale=0, min_width=160)
        stop = gr.Button("Stop", elem_id="dataset-stop", scale=0, min_width=100)
    found = gr.HTML("", elem_id="dataset-found", apply_default_css=False)
    out = gr.Files(label="CSV files and the report", visible=False, elem_id="dataset-out")
    return Tab(files, question, methods, keeps, start, stop, found, out)


def wire(on: Tab, service: Service) -> None:
    """Connect the tab."""
    epoch = gr.Number(UNTOUCHED, precision=0, visible=False)

    def own(request: gr.Request) -> str:
        return f"dataset {request.session_hash}"

    def begin(turn: int | None, request: gr.Request) -> int:
        return service.bump(own(request), turn)

    def seconds(folder: Path, data: Data, chosen: Sequence[Setting], session: str, epoch: int) -> int:
        return int(SECONDS + len(data.samples) * (1 + len(chosen)) * LIMIT * SECONDS_A_TOKEN)

    @gpu(seconds)
    def work(folder: Path, data: Data, chosen: Sequence[Setting], session: str, epoch: int) -> Iterator[Any]:
        yield from asked(service, folder, data, chosen, lambda: not service.wanted(session, epoch))

    @told
    def run(
        epoch: int, paths: list[str] | None, question: str, methods: list[str], keeps: str, request: gr.Request
    ) -> Iterator[Any]:
        """How far it is, and then everything."""
        session, began = own(request), time.monotonic()
        yield _says("reading the files …"), gr.Files(visible=False)
        with tempfile.TemporaryDirectory(prefix="dataset-") as place:
            folder = Path(place)
            chosen = settings_of(methods, keeps)
            data = collect(paths or [], question, folder / "given")
            total, results = len(data.samples), folder / "results"
            for done, page in enumerate(work(results, data, chosen, session, epoch)):
                if not service.wanted(session, epoch):
                    break
                if page is not None:
                    yield page, gr.Files([str(results / name) for name in FILES], visible=True)
                    return
                left = (time.monotonic() - began) / max(1, done) * (total - done)
                soon = f", about {left:.0f} s left" if done else " …"
                yield _says(f"{done} of {total} questions{soon}"), gr.skip()
        yield _says("stopped"), gr.skip()

    quick: dict[str, Any] = {"queue": False, "trigger_mode": "multiple", **PRIVATE}
    on.start.click(begin, epoch, epoch, js=TURN, **quick).success(
        run,
        [epoch, on.files, on.question, on.methods, on.keeps],
        [on.found, on.out],
        concurrency_id="long",
        concurrency_limit=1,
        trigger_mode="multiple",
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=[on.found],
    )
    on.stop.click(begin, epoch, epoch, js=TURN, **quick)


def settings_of(methods: Sequence[str], keeps: str) -> list[Setting]:
    """Every method at every budget; ValueError where there are none, or too many."""
    lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if lacking:
        raise ValueError(f'An evaluation needs {", ".join(lacking)}; run pip install "trimviz[evaluate]".')
    from trimviz.evaluate.settings import settings

    if not methods:
        raise ValueError("No method is chosen; tick at least one.")
    chosen = settings(methods, [keep.strip() for keep in keeps.split(",") if keep.strip()])
    if len(chosen) > SETTINGS:
        raise ValueError(
            f"These are {len(chosen)} pairs of a method and a budget, and at most {SETTINGS} run at once; name fewer."
        )
    return chosen


def collect(paths: Sequence[str], question: str, folder: Path) -> Data:
    """Samples of uploaded files, copied into a new folder under their own names.

    A JSONL names pictures among the uploads and nothing else on the machine. Raises ValueError, in one sentence, for
    files that cannot be used.
    """
    from trimviz.evaluate.data import read_jsonl

    lists = [Path(path) for path in paths if path.lower().endswith(".jsonl")]
    pictures = {Path(path).name: Path(path) for path in paths if not path.lower().endswith(".jsonl")}
    if len(lists) > 1:
        raise ValueError(f"There are {len(lists)} JSONL files; drop one at a time.")
    if not pictures:
        raise ValueError("There are no pictures; drop some, beside the JSONL if there is one.")
    if len(pictures) + len(lists) < len(paths):
        raise ValueError("Two pictures have the same name; rename one.")
    if len(pictures) > PICTURES:
        raise ValueError(f"These are {len(pictures)} pictures, and at most {PICTURES} are taken at once.")
    folder.mkdir()
    for name, path in pictures.items():
        shutil.copyfile(path, folder / name)
    name = lists[0].name if lists else "pictures.jsonl"
    if lists:
        if lists[0].stat().st_size > TEXT:
            raise ValueError(f"{name} is larger than {TEXT // 2**20} MiB; split it.")
        lines = lists[0].read_bytes().decode("utf-8-sig", errors="replace").split("\n")
        told = [_confined(line, number, pictures) for number, line in enumerate(lines, 1)]
    else:
        if not question.strip() or len(question) > LONGEST:
            raise ValueError(f"Expected a question about the pictures, of at most {LONGEST:,} characters; write one.")
        told = [json.dumps({"image": picture, "question": question, "id": picture}) for picture in pictures]
    if len([line for line in told if line.strip()]) > QUESTIONS:
        raise ValueError(f"{name} has more than {QUESTIONS} questions, which is what is taken at once; split it.")
    (folder / name).write_text("\n".join(told), encoding="utf-8")
    data = read_jsonl(folder / name)
    if not data.samples:
        raise ValueError(f"{name} is empty; write one object a line.")
    return data


def _confined(line: str, number: int, pictures: Mapping[str, Path]) -> str:
    """A line whose pictures are uploaded ones; a line that is no record stays, for the reader to refuse."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict):
        return line
    for kind in ("image", "video"):
        given = record.get(kind, [])
        names = []
        for one in given if isinstance(given, list) else [given]:
            name = PurePosixPath(str(one).replace("\\", "/")).name
            if name not in pictures:
                raise ValueError(
                    f"Line {number} names {str(one)[:80]!r}, which is not among the dropped files; add it."
                )
            names.append(name)
        if kind in record:
            record[kind] = names
    return json.dumps(record)


def asked(
    service: Service, folder: Path, data: Data, chosen: Sequence[Setting], stop: Callable[[], bool]
) -> Iterator[str | None]:
    """None before each sample; the page of results comes last. Ends early once `stop()` is true."""
    from trimviz.evaluate.data import Data
    from trimviz.evaluate.evaluation import evaluate
    from trimviz.evaluate.run import run

    records: list[dict[str, Any]] = []
    for count in range(len(data.samples)):
        yield None
        if stop():
            return
        # Each call goes on where the one before ended.
        records = run(service.model, Data(data.samples[: count + 1], data.origin), chosen, folder, LIMIT) or []
    summary = evaluate(service.model, data, chosen, folder)
    yield page_of(service, data, chosen, records, summary)


def page_of(
    service: Service, data: Data, chosen: Sequence[Setting], records: Sequence[dict[str, Any]], summary: Any
) -> str:
    """Tables, and the samples that changed most."""
    from trimviz.evaluate.summary import FREE
    from trimviz.evaluate.tables import free_table, main_table

    good = [record for record in records if "error" not in record]
    visual = sum(record["n"] for record in good) / len(good)
    tables = [free_table(summary, chosen, visual)]
    if set(summary.metric) - {name for name, *_ in FREE}:
        tables.insert(0, main_table(summary, chosen, visual))
    failed = "".join(f"<p class='quiet'>{escape(r['id'])}: {escape(r['error'])}</p>" for r in records if "error" in r)
    return "".join(map(_table, tables)) + failed + _changed(service, data, chosen, good)


def _table(table: Table) -> str:
    body = ""
    for group in table.groups:
        body += f'<tr class="group"><th colspan="{len(table.head)}">{escape(group.title)}</th></tr>'
        for label, cells in group.rows:
            texts = [(cell.detail, f"<b>{escape(cell.text)}</b>" if cell.best else escape(cell.text)) for cell in cells]
            body += _row(label, (f'<td title="{escape(detail)}">{shown}</td>' for detail, shown in texts))
    notes = "".join(f'<p class="quiet">{escape(note)}</p>' for note in (table.caption, *table.notes))
    return _framed(table.head, body) + notes


def _row(name: str, cells: Iterable[str]) -> str:
    return f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>"


def _framed(head: Sequence[str], body: str) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    table = f"<thead><tr>{titles}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll"><table class="contest">{table}</table></div>'


def _changed(service: Service, data: Data, chosen: Sequence[Setting], records: Sequence[dict[str, Any]]) -> str:
    """The answers that pruning moved most, with what was kept; those with other words first."""
    from trimviz.evaluate.store import unpack

    labels = {setting.name: f"{setting.label}, keep {setting.keep}" for setting in chosen}
    samples = {sample.key: sample for sample in data.samples}
    moved = sorted(
        ((run["same"], -(run["kl"] or 0.0), i, name) for i, r in enumerate(records) for name, run in r["runs"].items()
         if "error" not in run)
    )  # fmt: skip
    rows = ""
    seen: set[int] = set()
    for same, kl, i, name in moved:
        if i in seen or len(seen) == CHANGED:
            continue
        seen.add(i)
        record, run = records[i], records[i]["runs"][name]
        with service.model.lock:
            panels = service.model.look(samples[record["task"], record["id"]].open()).panels
        stage = None
        if run["stages"]:
            title, depth, kept = run["stages"][-1]
            mask = unpack(kept, record["n"])
            stage = Stage(title, depth, mask, mask.astype(int) - 1)
        pictures = "".join(veiled(panel, stage) for panel in panels[:4])
        badge = f'<span class="badge {"same" if same else "differs"}">{"same answer" if same else "differs"}</span>'
        cells = (
            f'<span class="thumbs">{pictures}</span>',
            escape(record["question"]),
            escape(record["dense"]["text"]),
            escape(run["text"]),
            badge,
            f"{-kl:.3f}",
            escape(labels[name]),
        )
        rows += _row(record["id"], (f"<td>{cell}</td>" for cell in cells))
    titles = ("Sample", "Kept", "Question", "Dense", "Pruned", "Agreement", "Mean KL, nats", "Setting")
    return (
        "<h3>Samples that changed most</h3><p class='quiet'>Each at the setting that moved it most; other words first, "
        f"then by KL divergence.</p>{_framed(titles, rows)}"
    )


def _says(words: str) -> str:
    return f'<p class="quiet" role="status">{escape(words)}</p>'
