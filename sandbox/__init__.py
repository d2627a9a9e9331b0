"""The world in a box: what a test or a developer's machine has instead of Polygon, a database server and the rest.

It knows nothing of cascade, and cascade knows nothing of it.
"""
