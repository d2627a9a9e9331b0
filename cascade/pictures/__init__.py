"""Pictures of the rate, as SVG that stands alone: text stays text, and the same data gives the same bytes."""

from cascade.pictures.canvas import Theme
from cascade.pictures.documentation import Run, input_curves, year
from cascade.pictures.page import Size, contributions, history
from cascade.pictures.prices import Prices
from cascade.pictures.speech import ENGLISH, Speech

__all__ = ["ENGLISH", "Prices", "Run", "Size", "Speech", "Theme", "contributions", "history", "input_curves", "year"]
