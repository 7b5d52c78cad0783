"""Decoding over caches of fixed size against growing ones: the same tokens, logits to rounding, nothing left behind,
and steps that a CUDA graph can hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import FAMILIES, QUESTION, llava, picture
from torch.utils._python_dispatch import TorchDispatchMode

from trimviz import engine
from trimviz.pruners import PRUNERS
from trimviz.static import Steps

TOKENS = 12


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", [None, "trimtokenator", "pyramiddrop"])
def test_fixed_caches_say_what_growing_ones_say(family: str, method: str | None) -> None:
    model = FAMILIES[family]()
    prompt = model.encode(picture(), QUESTION)
    pruner = None if method is None else PRUNERS[method]()
    state = engine.prefill(model, prompt, pruner, None if method is None else prompt.n * 0.6)
    grown = list(engine.stream(model, state, TOKENS, ends=()))
    for _ in range(2):  # the state is as it was
        fixed = list(engine.stream(model, state, TOKENS, ends=(), steps=Steps(model, state, TOKENS)))
        assert [token for token, _ in fixed] == [token for token, _ in grown]
        for (_, ours), (_, theirs) in zip(fixed, grown, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_beyond_its_room_it_says_so() -> None:
    model = llava()
    state = engine.prefill(model, model.encode(picture(), QUESTION))
    steps = Steps(model, state, 2)
    with pytest.raises(ValueError, match="room for 2 steps"):
        list(engine.stream(model, state, TOKENS, ends=(), steps=steps))


class Waiting(TorchDispatchMode):
    """Notes operations that a CUDA graph cannot hold: they wait for the device, or copy from Python to it."""

    KINDS = ("_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "equal", "lift_fresh")

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in self.KINDS:
            self.found.add(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_can_be_captured(family: str) -> None:
    model = FAMILIES[family]()
    state = engine.prefill(model, model.encode(picture(), QUESTION))
    steps = Steps(model, state, 2)
    with torch.inference_mode(), Waiting() as fixed:
        steps._step()
    assert not fixed.found
    with torch.inference_mode(), Waiting() as growing:
        engine._growing(model, engine._branch(state.cache), state.offsets)(3)
    assert growing.found == {"lift_fresh"}, "the token comes from Python"
