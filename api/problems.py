"""Errors as people and programs can read them: RFC 9457 ``application/problem+json``."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.pages.error_pages import MEDIA_TYPE, page_instead
from cascade.db.database import OUTAGES
from cascade.errors import (
    AuthorizationRefused,
    InvalidInput,
    InvalidSignature,
    NodeUnavailable,
    NotFound,
    NotPayable,
    StripeError,
)
from cascade.workers.heartbeat import describe

log = logging.getLogger(__name__)

STRIPE_FAILS = "Payment by card cannot be begun right now. You were not charged; try again in a moment."
UNEXPECTED = "Something went wrong on our side. Nothing was charged."


class Problem(BaseModel):
    """A problem in words. ``field`` names the part of the request that has to change.

    Of a signed payment that is not sent, ``reason`` is the word for it and ``next_step`` what to do instead.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Unprocessable Content",
                "status": 422,
                "detail": "A custom purchase is from 10 to 10,000 USD, not 9.99 USD.",
                "field": "usd_amount",
            }
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    field: str | None = None
    reason: str | None = None
    next_step: str | None = None


def problem(
    status: int, detail: str, *, field: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return an answer that says what went wrong."""
    return _answer(Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, field=field), headers)


def _answer(body: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(body.model_dump(exclude_none=True), body.status, headers, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route can answer with, for the OpenAPI document."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {"model": Problem, "description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}}
        for status in (*statuses, 429)
    }


def install(app: FastAPI) -> None:
    """Turn every error of an app into a problem."""
    _install_for_relaying(app)
    for outage in OUTAGES:
        app.add_exception_handler(outage, _database_down)

    @app.exception_handler(InvalidInput)
    def invalid_input(_: Request, exc: InvalidInput) -> JSONResponse:
        return problem(422, str(exc), field=exc.field)

    @app.exception_handler(NotFound)
    def not_found(_: Request, exc: NotFound) -> JSONResponse:
        return problem(404, str(exc))

    @app.exception_handler(NotPayable)
    def not_payable(_: Request, exc: NotPayable) -> JSONResponse:
        return problem(409, str(exc))

    @app.exception_handler(InvalidSignature)
    def invalid_signature(_: Request, exc: InvalidSignature) -> JSONResponse:
        return problem(400, str(exc))

    @app.exception_handler(StripeError)
    def stripe_fails(_: Request, exc: StripeError) -> JSONResponse:
        log.error("%s: %s", type(exc).__name__, exc)
        return problem(503, STRIPE_FAILS, headers={"retry-after": "5"})

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, exc: RequestValidationError) -> JSONResponse:
        first = exc.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:] if isinstance(part, str)) or "body"
        return problem(422, f"{field}: {first['msg']}.", field=field)

    @app.exception_handler(HTTPException)
    def http(request: Request, exc: HTTPException) -> JSONResponse:
        return problem(exc.status_code, str(exc.detail), headers=_headers_of(app, request, exc))

    @app.exception_handler(Exception)
    def unexpected(request: Request, exc: Exception) -> Response:
        log.error("unexpected %s", type(exc).__name__, exc_info=exc)
        return page_instead(request, problem(500, UNEXPECTED))  # no middleware of ours sees this answer


def _database_down(_: Request, exc: Exception) -> JSONResponse:
    log.error("the database does not serve: %s", describe(exc))
    detail = "The books cannot be reached right now. Nothing was changed; try again in a moment."
    return problem(503, detail, headers={"retry-after": "5"})


def _headers_of(app: FastAPI, request: Request, exc: HTTPException) -> Mapping[str, str] | None:
    """Return the headers of a fault; where a method is not taken, with every method that is.

    The framework names only those of the first route that fits, and one address can have a route for each.
    """
    if exc.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
        return exc.headers
    taken = {
        method.upper()
        for template, operations in app.openapi()["paths"].items()
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), request.scope["path"])
        for method in operations
    }
    return {"allow": ", ".join(sorted(taken))} if taken else exc.headers


def _install_for_relaying(app: FastAPI) -> None:
    @app.exception_handler(AuthorizationRefused)
    def authorization_refused(_: Request, exc: AuthorizationRefused) -> JSONResponse:
        return _answer(
            Problem(
                title=HTTPStatus.CONFLICT.phrase,
                status=HTTPStatus.CONFLICT,
                detail=str(exc),
                reason=exc.reason,
                next_step=exc.next_step,
            )
        )

    @app.exception_handler(NodeUnavailable)
    def node_down(_: Request, exc: NodeUnavailable) -> JSONResponse:
        log.error("the node does not answer: %s", exc)
        detail = "The chain cannot be read right now. Nothing was sent; try again in a moment."
        return problem(503, detail, headers={"retry-after": "5"})
