"""QR codes, each drawn once: drawing one takes as long as answering many other requests."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Final

import segno
from fastapi import Response

MOST_KEPT: Final = 2_000
"""About 10 kB each."""


@lru_cache(MOST_KEPT)
def drawn(text: str) -> bytes:
    """Return the SVG of a text, dark on light, whatever is around it."""
    picture = BytesIO()
    segno.make(text, error="m").save(picture, kind="svg", scale=4, light="#fff")
    return picture.getvalue()


def qr(text: str) -> Response:
    """Answer with the QR code of a text that must not stay in a cache outside."""
    return Response(drawn(text), media_type="image/svg+xml", headers={"cache-control": "no-store"})
