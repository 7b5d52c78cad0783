"""Numbers to colours to pictures to paper figures; no tensors, no model, no method."""

from trimviz.draw.figure import WIDTHS, figure
from trimviz.draw.movie import SUFFIXES, order_movie
from trimviz.draw.picture import mask_overlay, mask_picture, photo, score_picture

__all__ = ["SUFFIXES", "WIDTHS", "figure", "mask_overlay", "mask_picture", "order_movie", "photo", "score_picture"]
