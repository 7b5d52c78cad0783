"""VisionZip (Yang et al., 2024, arXiv 2412.04467): dominant patches as they are, the others merged into a few contexts.

The CLS token of a tile and the patches that it attends to most are dominant. Of the others, evenly spaced ones become
contexts, and every remaining patch goes to the context whose key is most like its own. A context comes out as its own
feature plus the mean of those that it takes in. With K tokens for a tile, floor(K / 6.4) are contexts, as published.

As in the official code, that sum is no average, and CLS passes a projector that was not trained on it. Departures:
ties go to the lower index; the tokens of a picture in tiles are shared out in proportion to the tiles' patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trimviz.pruners.base import Pruner
from trimviz.select import mean_heads, quotas, ranking, unit
from trimviz.types import Cut, View, Vision


@dataclass(frozen=True)
class VisionZip(Pruner):
    key: ClassVar[str] = "visionzip"
    name: ClassVar[str] = "VisionZip"
    paper: ClassVar[str] = "2412.04467"
    clause: ClassVar[str] = "keeps what CLS attends to most and merges the rest into a few contexts"
    needs: ClassVar[frozenset[str]] = frozenset({"keys", "cls", "cls_attention"})

    def cut(self, view: View, k: int) -> Cut:
        seen, groups = view.vision, []  # (place in the sequence, anchor, members, feature) of each output
        for t, (tile, count) in enumerate(quotas(seen.tile, k)):
            if count:
                groups += self._zip(seen, t, tile, count)
        groups.sort(key=lambda group: group[0])
        owner = torch.full_like(seen.tile, -1)
        for output, (_, _, members, _) in enumerate(groups):
            owner[members] = output
        anchor = owner.new_tensor([group[1] for group in groups])
        features = torch.stack([group[3] for group in groups])
        tokens = seen.project(features.to(seen.features.dtype))
        return Cut(owner, anchor, tokens=tokens, scores={"CLS attention": seen.cls_attention})

    def _zip(self, seen: Vision, t: int, tile: Tensor, count: int) -> list[tuple]:
        """The outputs of one tile; in the sequence the first tile is first, then all patches, all CLS, all contexts."""
        block = 0 if t == 0 else 1
        contexts = count * 10 // 64
        order = tile[ranking(seen.cls_attention[tile])]
        dominant = order[: count - contexts - 1].sort().values
        rest = order[count - contexts - 1 :].sort().values
        out: list[tuple] = [((block, 0 if t == 0 else 2, t), -1, tile[:0], seen.cls[int(seen.tile[tile[0]])].float())]
        for i, place in zip(dominant.tolist(), dominant[:, None], strict=True):
            out += [((block, 1, i), i, place, seen.features[i].float())]
        if contexts == 0:
            return out
        targets = rest[:: len(rest) // contexts][:contexts]
        others = rest[~torch.isin(rest, targets)]
        keys = unit(mean_heads(seen.keys, seen.heads))
        nearest = (keys[others] @ keys[targets].T).argmax(dim=1) if len(others) else others
        for c, target in enumerate(targets.tolist()):
            members = others[nearest == c]
            feature = seen.features[target].float()
            if len(members):
                feature = feature + seen.features[members].float().mean(dim=0)
            own = torch.cat([members, targets[c : c + 1]])
            out.append(((block, 3, t, c), target, own, feature))
        return out
