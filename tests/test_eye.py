"""The vision tower as a loop: without cuts it is the tower, with cuts it is the tower with patches masked out."""

from __future__ import annotations

import pytest
import torch
from tiny_models import QUESTION, llava, picture

from trimviz.eye import Eye
from trimviz.select import keep
from trimviz.types import Cut


def never(view, k):
    raise AssertionError("nothing was to be cut")


@torch.inference_mode()
def test_the_uncut_loop_is_the_tower():
    look = llava().look([picture()])
    walk = look.vision.tower.run(never, {})
    assert (walk.final.tokens - look.tokens).abs().max() == 0.0
    assert walk.final.owner.tolist() == walk.final.anchor.tolist() == list(range(36))
    assert walk.stages == ()


@torch.inference_mode()
def test_a_batch_of_tiles_is_the_tower_tile_by_tile():
    pictures = [picture(seed=seed) for seed in range(3)]
    look = llava().look(pictures)
    walk = look.vision.tower.run(never, {-1: 200})
    torch.testing.assert_close(walk.final.tokens, look.tokens, atol=1e-5, rtol=1e-5)
    assert walk.final.owner.tolist() == list(range(108))


@torch.inference_mode()
def test_dropped_patches_equal_masked_patches():
    model = llava()
    look = model.look([picture()])
    gone = {-3: [3, 4, 20], -2: [0, 35], -1: [7, 8, 9, 10]}  # patches, at each depth

    def cut(view, k):
        stay = torch.tensor([i for i, patch in enumerate(view.origin.tolist()) if patch not in gone[view.depth]])
        return keep(stay, len(view.visual), scores={"norm": view.visual.norm(dim=1)})

    walk = look.vision.tower.run(cut, {-3: 33, -2: 31, -1: 27})
    tower = model.tower
    hidden = tower.pre_layrnorm(tower.embeddings(look.vision.tower.pixels))
    mask = torch.zeros(1, 1, 1, 37)
    for block, depth in zip(tower.encoder.layers, (-3, -2, -1), strict=False):
        attended, _ = block.self_attn(block.layer_norm1(hidden), attention_mask=mask)
        hidden = hidden + attended
        hidden = hidden + block.mlp(block.layer_norm2(hidden))
        mask[..., [patch + 1 for patch in gone[depth]]] = -torch.inf  # in the layers to come
    left = [i for i in range(36) if i not in {patch for some in gone.values() for patch in some}]
    expected = model.core.model.multi_modal_projector(hidden[0, 1:])[left]
    assert walk.final.anchor.tolist() == left
    torch.testing.assert_close(walk.final.tokens, expected, atol=1e-4, rtol=0)
    assert [(depth, len(cut.anchor)) for depth, cut in walk.stages] == [(-3, 33), (-2, 31), (-1, 27)]


@torch.inference_mode()
def test_a_merged_token_weighs_as_its_patches():
    """Two identical patches in one token of size two are to the others what they were apart."""
    model = llava()
    pixels = model.look([picture()]).vision.tower.pixels
    tower = model.tower
    state = tower.pre_layrnorm(tower.embeddings(pixels))
    state[:, 2] = state[:, 1]  # patches 0 and 1 are the same

    class Twins(torch.nn.Module):
        config, encoder, pre_layrnorm = tower.config, tower.encoder, torch.nn.Identity()

        def embeddings(self, pixels):
            return state

    def merge(view, k):
        owner = torch.tensor([0, 0, *range(1, 35)])
        anchor = torch.tensor([0, *range(2, 36)])
        return Cut(owner, anchor)

    every = torch.arange(36)
    eye = Eye(Twins(), 3, pixels, lambda x: x, every)
    apart, merged = eye.run(never, {}).final, eye.run(merge, {-3: 35}).final
    torch.testing.assert_close(merged.tokens, apart.tokens[[0, *range(2, 36)]], atol=1e-4, rtol=1e-4)
    assert merged.owner.tolist() == [0, 0, *range(1, 35)]


@torch.inference_mode()
def test_outputs_stand_by_their_first_patch_and_patches_without_a_token_have_no_anchor():
    vision = llava().look([picture()]).vision

    def backwards(view, k):
        return Cut(torch.arange(len(view.visual)).flip(0), torch.arange(len(view.visual)).flip(0))

    def first_half(view, k):
        return keep(torch.arange(18), 36)

    def odd(view, k):
        return backwards(view, k) if view.depth == -3 else first_half(view, k)

    walk = vision.tower.run(odd, {-3: 35, -1: 18})
    assert walk.final.anchor.tolist() == list(range(18, 36))  # the reversed first half is the second
    packed = vision.tower.packed(torch.tensor([30, 20, 2])).run(odd, {-3: 35, -1: 18}).final
    assert packed.owner.tolist() == [12, 2, -1]
    assert packed.anchor.tolist() == [-1, -1, 1, *[-1] * 9, 0, *[-1] * 5]


def test_text_and_door_are_refused_inside_the_tower():
    vision = llava().look([picture()]).vision

    def ask(view, k):
        for question in (lambda: view.attention(torch.tensor([0])), lambda: view.look_ahead(None), view.door):
            with pytest.raises(ValueError, match="Inside the vision tower"):
                question()
        return keep(torch.arange(9), len(view.visual))

    vision.tower.run(ask, {-2: 9})


def test_features_of_several_layers_offer_no_tower():
    model = llava()
    model.core.config.vision_feature_layer = [-3, -2]
    try:
        pixels = model.look.__wrapped__ and model.encode(picture(), QUESTION).vision
    except RuntimeError:  # the projector of this checkpoint takes the features of one layer
        return
    finally:
        model.core.config.vision_feature_layer = -2
    assert pixels.tower is None
