"""The list of methods; the app, the command line, the README's table and the tests read it."""

from trimviz.pruners.base import Knob, OrderTable, Pruner
from trimviz.pruners.cdpruner import CDPruner
from trimviz.pruners.divprune import DivPrune
from trimviz.pruners.divprune_star import DivPruneStar
from trimviz.pruners.fastv import FastV
from trimviz.pruners.flowcut import FlowCut
from trimviz.pruners.pooling import Pooling
from trimviz.pruners.prumerge import PruMerge
from trimviz.pruners.prumerge_plus import PruMergePlus
from trimviz.pruners.pyramiddrop import PyramidDrop
from trimviz.pruners.random import Random
from trimviz.pruners.sparsevlm import SparseVLM
from trimviz.pruners.tome import ToMe
from trimviz.pruners.trimtokenator import TrimTokenator
from trimviz.pruners.uniform import Uniform
from trimviz.pruners.visionzip import VisionZip
from trimviz.pruners.vispruner import VisPruner
from trimviz.pruners.vtw import VTW

PRUNERS: dict[str, type[Pruner]] = {
    cls.key: cls
    for cls in (
        TrimTokenator,
        DivPrune,
        DivPruneStar,
        VisionZip,
        FastV,
        SparseVLM,
        PyramidDrop,
        ToMe,
        VTW,
        CDPruner,
        PruMerge,
        PruMergePlus,
        VisPruner,
        FlowCut,
        Pooling,
        Random,
        Uniform,
    )
}

DEFAULT = TrimTokenator.key  # where nobody chose

__all__ = ["DEFAULT", "PRUNERS", "Knob", "OrderTable", "Pruner"]
