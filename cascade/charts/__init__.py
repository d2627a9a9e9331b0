"""Pictures of the rate, as SVG that stands alone: text stays text, and the same data gives the same bytes."""
