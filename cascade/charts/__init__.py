"""Pictures of the rate, as SVG that stands alone: text stays text, and the same data gives the same bytes."""

from cascade.charts.canvas import Theme
from cascade.charts.chart_locale import ENGLISH, ChartLocale
from cascade.charts.documentation import Run, input_curves, year
from cascade.charts.prices import Prices
from cascade.charts.rate_charts import Size, contributions, history

__all__ = [
    "ENGLISH",
    "ChartLocale",
    "Prices",
    "Run",
    "Size",
    "Theme",
    "contributions",
    "history",
    "input_curves",
    "year",
]
