"""The app: a page on a local server, drawn from what `trimviz.compare` gives."""

from trimviz.ui.start import launch, main

__all__ = ["launch", "main"]
