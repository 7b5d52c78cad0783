"""Numbers to colours to pictures to paper figures; no tensors, no model, no method."""

from trimviz.draw.figure import WIDTHS, figure
from trimviz.draw.movie import order_movie
from trimviz.draw.picture import mask_picture, score_picture

__all__ = ["WIDTHS", "figure", "mask_picture", "order_movie", "score_picture"]
