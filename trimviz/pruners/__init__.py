"""The list of methods; the app, the command line, the README's table and the tests read it."""

from trimviz.pruners.base import Knob, OrderTable, Pruner
from trimviz.pruners.divprune import DivPrune
from trimviz.pruners.divprune_star import DivPruneStar
from trimviz.pruners.fastv import FastV
from trimviz.pruners.pyramiddrop import PyramidDrop
from trimviz.pruners.random import Random
from trimviz.pruners.trimtokenator import TrimTokenator
from trimviz.pruners.uniform import Uniform
from trimviz.pruners.vtw import VTW

PRUNERS: dict[str, type[Pruner]] = {
    cls.key: cls
    for cls in (
        TrimTokenator,
        DivPrune,
        DivPruneStar,
        FastV,
        PyramidDrop,
        VTW,
        Random,
        Uniform,
    )
}

DEFAULT = TrimTokenator.key  # where nobody chose

__all__ = ["DEFAULT", "PRUNERS", "Knob", "OrderTable", "Pruner"]
