"""The list of methods; the app, the command line, the README's table and the tests read it."""

from trimviz.pruners.base import Knob, OrderTable, Pruner
from trimviz.pruners.random import Random
from trimviz.pruners.trimtokenator import TrimTokenator
from trimviz.pruners.uniform import Uniform

PRUNERS: dict[str, type[Pruner]] = {
    cls.key: cls
    for cls in (
        TrimTokenator,
        Random,
        Uniform,
    )
}

DEFAULT = TrimTokenator.key  # where nobody chose

__all__ = ["DEFAULT", "PRUNERS", "Knob", "OrderTable", "Pruner"]
