"""What runs on the CPU runs on another device, with the same result and without tensors of two devices ever meeting."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import dispatch_model, infer_auto_device_map
from elsewhere import elsewhere, moved
from tiny_models import FAMILIES, FILMED, QUESTION, clip_of, llava, picture
from torch import nn

from trimviz import engine
from trimviz.chosen import Chosen
from trimviz.compare import Comparison, answer, contest, finish, misfit
from trimviz.explain import explain
from trimviz.models.base import Model
from trimviz.pruners import PRUNERS, Pruner
from trimviz.static import Steps
from trimviz.sweep import pairs, sweep
from trimviz.ui.service import Ask, Service

THERE, AWAY = "elsewhere:0", "elsewhere:1"


@pytest.fixture(autouse=True)
def devices() -> Iterator[None]:
    with elsewhere():
        yield


def there(model: Model) -> Model:
    return type(model)(model.repo, moved(model.core, THERE), model.processor, model.revision, **model.settings)


def agree(here: Comparison, away: Comparison) -> None:
    assert away.device == THERE
    for own, other in ((here.dense, away.dense), (here.pruned, away.pruned)):
        assert own.answer.ids == other.answer.ids
    assert len(here.pruned.stages) == len(away.pruned.stages)
    for ours, theirs in zip(here.pruned.stages, away.pruned.stages, strict=True):
        assert (ours.owner == theirs.owner).all()
        assert (ours.order is None and theirs.order is None) or (ours.order == theirs.order).all()
        for name, values in ours.scores.items():
            np.testing.assert_allclose(values, theirs.scores[name], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(here.kl, away.kl, atol=1e-5)


def test_the_stand_in_refuses_what_a_gpu_refuses() -> None:
    x = torch.arange(6, device=THERE)
    assert x.device == torch.device(THERE) and (x * 2 + torch.tensor(1)).tolist() == [1, 3, 5, 7, 9, 11]
    assert x[torch.tensor([4, 1])].tolist() == [4, 1], "indices may be on the CPU"
    for other in (torch.ones(6), torch.ones(6, device=AWAY)):
        with pytest.raises(RuntimeError, match="several devices"):
            x + other
        with pytest.raises(RuntimeError, match="several devices"):
            torch.cat([other, x])
        assert (x + other.to(THERE)).device == x.device
    with pytest.raises(RuntimeError, match="numpy"):
        x.numpy()
    x[2:] += 1
    assert x.cpu().numpy().tolist() == [0, 1, 3, 4, 5, 6], "views share what they hold"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_selects_the_same_on_another_device(family: str) -> None:
    model = FAMILIES[family]()
    other = there(model)
    prompts = [m.encode(picture(), QUESTION) for m in (model, other)]
    fitting = [method() for method in PRUNERS.values() if not misfit(method, model)]
    assert fitting
    for pruner, keep in [*((pruner, "60%") for pruner in fitting), (Chosen(tokens=(1, 2, 5)), 3)]:
        found = zip((model, other), prompts, strict=True)
        agree(*(contest(m, prompt, [pruner], keep, limit=3)[0] for m, prompt in found))


def settings(method: type[Pruner]) -> Iterator[Pruner]:
    """A method with each of the choices of each of its knobs."""
    for knob in method.knobs():
        for value in knob.choices or ():
            if value != knob.default:
                yield method.make({knob.name: value})


@pytest.mark.parametrize("pruner", [p for m in PRUNERS.values() for p in settings(m)], ids=repr)
def test_every_choice_of_every_knob_does(pruner: Pruner) -> None:
    model = llava()
    here, away = (contest(m, m.encode(picture(), QUESTION), [pruner], "60%", limit=2)[0] for m in (model, there(model)))
    agree(here, away)


CHOSEN = [
    (name, {option: value})
    for name, make in FAMILIES.items()
    for option, choices in type(make()).options.items()
    for value in choices.choices[1:]
]


@pytest.mark.parametrize(("family", "chosen"), CHOSEN, ids=str)
def test_every_setting_of_every_family_does(family: str, chosen: dict[str, str]) -> None:
    model = FAMILIES[family]().set(**chosen)
    other = there(model)
    for method, keep in (
        ("trimtokenator", "60%"),
        ("trimtokenator", "2"),
        ("visionzip", "60%"),
        ("pyramiddrop", "60%"),
    ):
        pruner = PRUNERS[method]()  # of 2 tokens, some tiles get none
        if not misfit(PRUNERS[method], model):
            agree(*(contest(m, m.encode(picture(), QUESTION), [pruner], keep, limit=2)[0] for m in (model, other)))


@pytest.mark.parametrize("family", FILMED)
def test_videos_do(family: str) -> None:
    model, pruner = FAMILIES[family](), PRUNERS["trimtokenator"]()
    agree(*(contest(m, m.encode([clip_of(3)], QUESTION), [pruner], "60%", limit=2)[0] for m in (model, there(model))))


def test_what_the_app_shows_does(tmp_path: Path) -> None:
    picture().save(tmp_path / "picture.png")
    model = llava()
    services = Service(model), Service(there(model))
    for method in PRUNERS:
        asked = Ask(str(tmp_path / "picture.png"), QUESTION, method=method, keep=20, n1=25, limit=2)
        here, away = (service.finish(asked) for service in services)
        agree(here.comparison, away.comparison)
        tables = here.view.table, away.view.table
        assert (tables[0] is None) == (tables[1] is None)
        if tables[0] is not None and tables[1] is not None:
            assert all(np.array_equal(*pair) for pair in zip(tables[0].orders, tables[1].orders, strict=True))


def test_sweeps_do() -> None:
    model = llava()
    found = []
    for m in (model, there(model)):
        prompt = m.encode(picture(), QUESTION)
        dense = finish(answer(m, prompt, limit=2))
        found.append(list(sweep(m, prompt, dense, "trimtokenator", {}, pairs("trimtokenator", [20, 30], [9, 18]))))
    assert [replace(point, kl=None) for point in found[0]] == [replace(point, kl=None) for point in found[1]]
    np.testing.assert_allclose(*([point.kl for point in points] for points in found), atol=1e-5)


def test_explanations_do() -> None:
    model = llava()
    told = []
    for m in (model, there(model)):
        look = m.look([picture()])
        prompt, pruner = m.prompt(look, QUESTION), PRUNERS["trimtokenator"]()
        told.append(explain(m, look, prompt, pruner, contest(m, prompt, [pruner], "60%", limit=1)[0].pruned))
    np.testing.assert_allclose(told[0].distances, told[1].distances, rtol=1e-5)
    assert (told[0].similarity.triangle == told[1].similarity.triangle).all()
    assert told[0].overlap == told[1].overlap


@pytest.mark.parametrize("family", FAMILIES)
def test_caches_of_fixed_size_do(family: str) -> None:
    other = there(FAMILIES[family]())
    state = engine.prefill(other, other.encode(picture(), QUESTION))
    grown = [token for token, _ in engine.stream(other, state, 6, ends=())]
    assert [token for token, _ in engine.stream(other, state, 6, ends=(), steps=Steps(other, state, 6))] == grown


@pytest.mark.filterwarnings("ignore:The following device_map keys do not match any submodules")  # but parameters
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_split_over_two_devices_equals_the_whole(family: str) -> None:
    model = FAMILIES[family]()
    other = type(model)(model.repo, split(model.core), model.processor, model.revision, **model.settings)
    assert {str(layer.mlp.down_proj.weight.device) for layer in other.layers} == {THERE, AWAY}
    for method in ("trimtokenator", "fastv", "pyramiddrop"):  # at the door; by attention; by that of the next layer
        pruner = PRUNERS[method]()
        agree(*(contest(m, m.encode(picture(), QUESTION), [pruner], "60%", limit=3)[0] for m in (model, other)))


def split(core: nn.Module) -> nn.Module:
    """A copy of a model, spread as accelerate does where the first of two devices holds two thirds of it."""
    core = copy.deepcopy(core)
    size = sum(weight.nbytes for weight in core.parameters())
    room = {0: size * 2 // 3, 1: size, "cpu": 0}
    where = {0: THERE, 1: AWAY}
    plan = infer_auto_device_map(core, room, no_split_module_classes=list(core._no_split_modules))
    spread = {name: where[number] for name, number in plan.items()}
    for name in [name for name, _ in core.named_parameters() if name in spread]:  # dispatching moves modules alone
        module, _, weight = name.rpartition(".")
        place = nn.Parameter(core.get_parameter(name).data.to(spread[name]), requires_grad=False)
        setattr(core.get_submodule(module), weight, place)
    return dispatch_model(core, spread, main_device=THERE)
