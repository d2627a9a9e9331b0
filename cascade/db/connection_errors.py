"""Explain why a database cannot be reached, in a sentence with its remedy; never the password."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from cascade.db.database import writer_only
from cascade.errors import DatabaseUnreachable

_PATIENCE_SECONDS: Final = 10.0
"""A database that starts together with us may need so long."""
_PAUSE_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class _Cause:
    """A reason that PostgreSQL or its library gives.

    Attributes:
        words: how it is recognized. Messages before the login have no SQLSTATE in libpq; a server that speaks another
            language is quoted instead.
        sentence: what is told; {user}, {database} and {place} are filled in.
        passes: it may pass by itself.
    """

    words: re.Pattern[str]
    sentence: str
    passes: bool = False


def _cause(words: str, sentence: str, *, passes: bool = False) -> _Cause:
    return _Cause(re.compile(words, re.IGNORECASE), sentence, passes)


_CAUSES: Final = (
    _cause(  # 28P01
        "password authentication failed|SCRAM|MD5 authentication failed",
        'wrong password: {place} refuses user "{user}" with the password in DATABASE_URL; correct it, or set it anew'
        ' with ALTER ROLE "{user}" PASSWORD ...',
    ),
    _cause(
        "no password supplied",
        'no password: {place} asks user "{user}" for one; write it into DATABASE_URL (user:password@host)',
    ),
    _cause(  # 28000
        'role ".*" does not exist',
        'no such user: {place} knows no "{user}"; create it with CREATE ROLE "{user}" LOGIN, or correct DATABASE_URL',
    ),
    _cause(
        "(peer|ident) authentication failed",
        'no login: {place} lets "{user}" in only as the system user of that name; write host and password into'
        " DATABASE_URL, or run as that user",
    ),
    _cause(
        "pg_hba.conf|is not permitted to log in|authentication failed",
        'no login: {place} does not let user "{user}" into database "{database}" from here; add a line to pg_hba.conf,'
        " and LOGIN to the role",
    ),
    _cause(  # 3D000
        'database ".*" does not exist',
        'no such database: {place} has no database "{database}"; create it with CREATE DATABASE "{database}" OWNER'
        ' "{user}", or correct DATABASE_URL',
    ),
    _cause(  # 42501
        "permission denied for database",
        'no permission: user "{user}" may not connect to database "{database}" at {place}; GRANT CONNECT to it',
    ),
    _cause(
        "failed to resolve host|could not translate host name",
        "unknown host: no address is known for {place}; correct the host in DATABASE_URL, or the name service",
        passes=True,
    ),
    _cause(
        "does not support SSL|certificate|SSL error",
        "no TLS: {place} and sslmode in DATABASE_URL do not fit each other: {words}",
    ),
    _cause(  # 25006
        "session is read-only|in hot standby mode|server is not in|target_session_attrs",
        "read-only: {place} takes no writes, as a standby does; name the primary in DATABASE_URL, or several hosts",
        passes=True,
    ),
    _cause("the database system is", "not ready: {place} is starting or stopping; wait for it", passes=True),  # 57P03
    _cause(  # 53300
        "too many (clients|connections)|remaining connection slots",
        "no room: {place} has all its connections in use; raise max_connections, or stop what holds them",
        passes=True,
    ),
    _cause(
        "refused|No such file or directory|Network is unreachable|No route to host",
        "nothing listens at {place}; start PostgreSQL there, or correct host and port in DATABASE_URL",
        passes=True,
    ),
    _cause(
        "timeout|timed out",
        "no answer: {place} does not answer within 5 seconds; look at the host, the network and the firewall",
        passes=True,
    ),
)


def await_database(url: str, seconds: float = _PATIENCE_SECONDS) -> None:
    """Wait until the database lets us in.

    Args:
        url: libpq URL.
        seconds: how long causes that may pass are waited for.

    Raises:
        DatabaseUnreachable: it does not; the message says why and what to do.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            psycopg.connect(url, **{"connect_timeout": 5} | writer_only(url)).close()
            return
        except psycopg.OperationalError as error:
            cause, sentence = _explained(url, str(error))
            if time.monotonic() > deadline or not (cause is None or cause.passes):
                raise DatabaseUnreachable(f"DATABASE_URL: {sentence}") from None
        time.sleep(_PAUSE_SECONDS)


def _explained(url: str, words: str) -> tuple[_Cause | None, str]:
    given = conninfo_to_dict(url)
    hosts = str(given.get("host") or given.get("hostaddr") or "the local socket")
    port = given.get("port")
    names = {
        "user": given.get("user") or "the system user",
        "database": given.get("dbname") or given.get("user") or "",
        "place": f"PostgreSQL at {hosts}" + (f", port {port}" if port else ""),
        "words": " ".join(words.split()),
    }
    for cause in _CAUSES:
        if cause.words.search(words):
            return cause, cause.sentence.format_map(names)
    return None, "{place} does not let us in: {words}".format_map(names)
