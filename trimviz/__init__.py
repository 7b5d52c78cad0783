"""trimviz: run LLaVA-type models with and without visual-token pruning and see what happens inside."""

__version__ = "0.1.0"

from trimviz.compare import compare
from trimviz.models import MODELS, load
from trimviz.pruners import PRUNERS

__all__ = ["MODELS", "PRUNERS", "__version__", "compare", "load"]
