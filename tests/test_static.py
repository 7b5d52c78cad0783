"""Decoding over caches of fixed size against growing ones: the same tokens, logits to rounding, nothing left behind."""

from __future__ import annotations

import pytest
import torch
from tiny_models import FAMILIES, QUESTION, llava, picture

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
