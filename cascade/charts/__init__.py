"""Pictures of the rate, as SVG that stands alone: text stays text, and the same data gives the same bytes.

Matplotlib takes a third of the time in which the API starts: what draws is imported where it is called.
"""
