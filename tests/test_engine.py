"""The loop equals transformers' own generate; a cut equals the masked reference; nothing is left behind."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import pytest
import torch
from tiny_models import FAMILIES, FILMED, QUESTION, clip_of, llava, llava_next, llava_onevision, picture

from trimviz import engine
from trimviz.compare import answer, finish, misfit
from trimviz.pruners import PRUNERS, Pruner
from trimviz.pruners.base import choice
from trimviz.select import keep
from trimviz.tape import recording

STEPS = 8
ASKED = {
    **{family: (make, picture) for family, make in FAMILIES.items()},
    **{f"{family}, video": (make, clip_of) for family, make in FILMED.items()},
    "llava_next, newlines kept": (partial(llava_next, newlines="keep"), picture),
    "qwen2_vl, long video": (FILMED["qwen2_vl"], partial(clip_of, frames=20)),  # longer in time than wide
    "llava, two pictures": (llava, lambda: [picture(), picture(60, 90, 1)]),
    "llava_next, two pictures": (llava_next, lambda: [picture(), picture(60, 190, 1)]),
    "llava_next, per tile": (partial(llava_next, selection="per tile"), picture),
    "llava_onevision, shrunk": (partial(llava_onevision, most=1), picture),
    "llava_onevision, newlines kept": (partial(llava_onevision, newlines="keep"), picture),
    "llava_onevision, two pictures": (llava_onevision, lambda: [picture(), picture(60, 190, 1)]),
    "qwen2_vl, two pictures": (FAMILIES["qwen2_vl"], lambda: [picture(), picture(60, 190, 1)]),
}
VARIANTS = ("llava_next, newlines kept", "llava_next, per tile", "qwen2_vl, video", "smolvlm, video")


@dataclass(frozen=True)
class Steps(Pruner):
    """Keeps the first tokens by attention at several depths: a stand-in for methods that cut late and repeatedly."""

    key: ClassVar[str] = "steps"
    name: ClassVar[str] = "Steps"
    paper: ClassVar[str] = ""
    clause: ClassVar[str] = ""
    positions: str = choice("keep", ("pack", "keep"), "")
    ahead: bool = False

    @classmethod
    def knobs(cls):
        return ()

    def schedule(self, layers, n, budget):
        return {1: n // 2, 3: n // 4, 4: 2}

    def cut(self, view, k):
        last = torch.tensor([len(view.text) - 1])
        rows = view.look_ahead(last) if self.ahead else view.attention(last)
        index = rows.mean(0)[0].topk(k).indices
        return keep(index, len(view.visual), scores={"attention": rows.mean(0)[0]})


def dense_logits(model, prompt, ids):
    """Logits of transformers' own forward on prompt embeddings and then one answer token after the other."""
    out = model.core.generate(
        inputs_embeds=prompt.embeds[None],
        attention_mask=torch.ones(1, len(prompt.embeds), dtype=torch.long),
        max_new_tokens=STEPS,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return out.sequences[0].tolist(), torch.stack(out.logits)[:, 0]


def official(model, prompt, look):
    """transformers' own generate from pixels, with our ids, which test_models.py holds to the official processor."""
    inputs = {"input_ids": prompt.ids[None], "attention_mask": torch.ones_like(prompt.ids)[None], **look.inputs}
    if model.axes > 1:
        config = model.core.config
        kinds = (prompt.ids == config.image_token_id).int() + 2 * (prompt.ids == config.video_token_id).int()
        inputs["mm_token_type_ids"] = kinds[None]
    out = model.core.generate(
        **{k: v for k, v in inputs.items() if k != "tilings"},
        max_new_tokens=STEPS,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return out.sequences[0, len(prompt.ids) :].tolist(), torch.stack(out.logits)[:, 0]


@pytest.mark.parametrize("family", ASKED)
def test_uncut_run_equals_generate_from_pixels(family):
    make, subject = ASKED[family]
    model, subject = make(), subject()
    look = model.look(subject if isinstance(subject, list) else [subject])
    prompt = model.prompt(look, QUESTION)
    said, logits = official(model, prompt, look)
    trace = finish(answer(model, prompt, limit=STEPS))
    ours = list(trace.run.answer.ids)
    assert ours == said[: len(ours)] and len(ours) >= min(STEPS, len(said) - 1)
    assert len(ours) >= 3, "the random model should say something"
    assert (logits[: len(ours)] - trace.logits).abs().max() == 0.0


def masked_reference(model, prompt, run, ids, keep_positions):
    """The full sequence through transformers' layers, dropped keys masked out layer by layer; (A, V) logits."""
    layers = model.layers
    embeds = torch.cat([prompt.embeds, model.embed(torch.tensor(ids[:-1], dtype=torch.long))])[None]
    total, length = embeds.shape[1], len(prompt.embeds)
    places = prompt.visual.nonzero()[:, 0]
    hidden = embeds
    gone = torch.zeros(total, dtype=torch.bool)
    newline = prompt.newline >= 0
    follow = int(prompt.positions[:, -1].max()) + 1 + torch.arange(total - length)
    own = torch.cat([prompt.positions, follow.expand(len(prompt.positions), -1)], dim=1)
    for depth, layer in enumerate(layers):
        for stage in run.stages:
            if stage.depth == depth:
                gone[places[torch.tensor(~stage.kept)]] = True
                gone[:length][newline] = True
                if model.settings.get("newlines") == "keep":
                    rows = prompt.vision.line[torch.tensor(stage.kept)]
                    gone[:length][torch.isin(prompt.newline, rows) & newline] = False
        if keep_positions or len(own) > 1:
            positions = own
        else:  # numbered anew among those alive in this layer
            positions = ((~gone).cumsum(0) - 1).clamp_min(0)[None]
        mask = torch.ones(total, total, dtype=torch.bool).tril() & ~gone[None, :]
        mask |= torch.eye(total, dtype=torch.bool)  # a dropped row needs something to look at; nobody looks at it
        out = layer(
            hidden,
            attention_mask=mask[None, None],
            position_ids=positions[:1],
            position_embeddings=model.rotary(hidden, positions),
        )
        hidden = out
    return model.head(model.norm(hidden))[0, length - 1 :]


@pytest.mark.parametrize("positions", ["keep", "pack"])
@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("family", ASKED)
@torch.inference_mode()
def test_cuts_equal_the_masked_reference(family, positions, ahead):
    make, subject = ASKED[family]
    model = make()
    prompt = model.encode(subject(), QUESTION)
    pruner = Steps(positions=positions, ahead=ahead)
    trace = finish(answer(model, prompt, pruner, 5, limit=STEPS))
    ids = list(trace.run.answer.ids)
    assert len(ids) >= 2
    reference = masked_reference(model, prompt, trace.run, ids, positions == "keep")
    torch.testing.assert_close(trace.logits, reference[: len(ids)], atol=1e-4, rtol=0)
    n = prompt.n
    assert trace.run.visual_alive.tolist() == [n, n // 2, n // 2, n // 4, 2, 2]
    lengths = [layer.keys.shape[-2] for layer in trace.state.cache.layers]
    assert lengths == trace.run.alive.tolist()


@pytest.mark.parametrize("method", PRUNERS)
@pytest.mark.parametrize("family", [*FAMILIES, *VARIANTS])
@torch.inference_mode()
def test_every_method_equals_the_masked_reference(family, method):
    make, subject = ASKED[family]
    model = make()
    if misfit(PRUNERS[method], model):
        pytest.skip(misfit(PRUNERS[method], model))
    prompt = model.encode(subject(), QUESTION)
    for positions in ("keep", "pack"):
        pruner = PRUNERS[method](positions=positions)
        trace = finish(answer(model, prompt, pruner, prompt.n // 2, limit=STEPS))
        ids = list(trace.run.answer.ids)
        if not ids or any(s.depth < 0 or s.owner.max() + 1 != s.kept.sum() for s in trace.run.stages):
            continue  # neither merged tokens nor those of a tower with cuts have a counterpart in this mask
        reference = masked_reference(model, prompt, trace.run, ids, positions == "keep")
        torch.testing.assert_close(trace.logits, reference[: len(ids)], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_recorded_attention_equals_eager():
    model = llava()
    prompt = model.encode(picture(), QUESTION)
    seen = {}

    @dataclass(frozen=True)
    class Spy(Steps):
        def cut(self, view, k):
            rows = torch.arange(len(view.text))
            seen[view.depth] = (view.attention(rows), view.look_ahead(rows))
            return super().cut(view, k)

    engine.prefill(model, prompt, Spy(), 5)
    model.core.set_attn_implementation("eager")
    out = model.core.model.language_model(
        inputs_embeds=prompt.embeds[None], output_attentions=True, attention_mask=torch.ones(1, len(prompt.embeds))
    )
    model.core.set_attn_implementation("sdpa")
    text, visual = (~prompt.visual).nonzero()[:, 0], prompt.visual.nonzero()[:, 0]
    expected = out.attentions[0][0][:, text][..., visual]
    torch.testing.assert_close(seen[1][0], expected, atol=1e-5, rtol=0)
    # The layer about to run is looked at before anything is cut there, so it too has the whole sequence.
    torch.testing.assert_close(seen[1][1], out.attentions[1][0][:, text][..., visual], atol=1e-5, rtol=0)


def count_hooks(core):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in core.modules())


def test_nothing_is_left_behind():
    model = llava()
    prompt = model.encode(picture(), QUESTION)
    first = finish(answer(model, prompt, limit=STEPS))
    weights = {name: p.clone() for name, p in model.core.state_dict().items()}
    hooks = count_hooks(model.core)
    finish(answer(model, prompt, Steps(), 5, limit=STEPS))
    assert model.core.config._attn_implementation == "sdpa"
    assert model.text_config._attn_implementation == "sdpa"
    assert count_hooks(model.core) == hooks
    assert all(torch.equal(p, weights[name]) for name, p in model.core.state_dict().items())
    again = finish(answer(model, prompt, limit=STEPS))
    assert torch.equal(first.logits, again.logits)


def test_tape_survives_an_error():
    model = llava()
    with pytest.raises(ZeroDivisionError), recording(model.layers[0].self_attn):
        raise ZeroDivisionError
    assert model.text_config._attn_implementation == "sdpa"


@torch.inference_mode()
def test_score_equals_decode():
    model = llava()
    prompt = model.encode(picture(), QUESTION)
    for pruner in (None, Steps(), Steps(positions="pack")):
        trace = finish(answer(model, prompt, pruner, 5, limit=STEPS))
        scored = engine.score(model, trace.state, trace.run.answer.ids)
        torch.testing.assert_close(scored, trace.logits, atol=1e-4, rtol=0)


def test_cancel_between_tokens_and_before_the_first():
    model = llava()
    prompt = model.encode(picture(), QUESTION)
    seen = []
    partials = answer(model, prompt, limit=STEPS, stop=lambda: len(seen) >= 2)
    for part in partials:
        seen.append(part)
        last = part
    assert last.trace is not None and len(last.trace.run.answer.ids) == 2 and not last.trace.run.answer.finished
    with pytest.raises(engine.Cancelled):
        next(answer(model, prompt, stop=lambda: True))
    assert not model.lock.locked()


@pytest.mark.parametrize("method", PRUNERS)
def test_budget_n_gives_the_dense_answer(method):
    model = llava()
    prompt = model.encode(picture(), QUESTION)
    dense = finish(answer(model, prompt, limit=STEPS))
    for budget in (prompt.n, prompt.n + 100):
        trace = finish(answer(model, prompt, PRUNERS[method](), budget, limit=STEPS))
        assert torch.equal(trace.logits, dense.logits)


@pytest.mark.parametrize("budget", [0, -3, float("nan"), None])
def test_a_budget_below_one_is_refused_in_a_sentence(budget):
    model = llava()
    prompt = model.encode(picture(), QUESTION)
    with pytest.raises(ValueError, match="at least 1 visual token"):
        engine.prefill(model, prompt, PRUNERS["random"](), budget)
