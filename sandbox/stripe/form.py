"""Form-encoded requests with nested keys: `line_items[0][price_data][unit_amount]=500`."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qsl

from sandbox.stripe.errors import InvalidRequest, Json

_KEY: Final = re.compile(r"^([^\[\]]+)((?:\[[^\[\]]*\])*)$")
_MOST_METADATA_KEYS: Final = 50
_LONGEST_METADATA_KEY: Final = 40
_LONGEST_METADATA_VALUE: Final = 500


def decode(encoded: str) -> Json:
    """The tree of a form or a query. Lists stay dictionaries with numbers as keys until they are asked for as lists."""
    tree: Json = {}
    for key, value in parse_qsl(encoded, keep_blank_values=True):
        match = _KEY.match(key)
        path = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])] if match else [key]
        _insert(tree, path, value)
    return tree


def _insert(tree: Json, path: list[str], value: str) -> None:
    node = tree
    for step in path[:-1]:
        inner = node.setdefault(step or str(len(node)), {})
        if not isinstance(inner, dict):
            raise InvalidRequest("Invalid request (check that your parameters are well-formed)")
        node = inner
    node[path[-1] or str(len(node))] = value


class Parameters:
    """The parameters of one request, or of one object inside it, read by name and type.

    Every reader raises `InvalidRequest` for a value of another kind; `finish` raises it for names nobody read, so that
    a misspelt parameter is refused as Stripe refuses it, and never ignored.
    """

    def __init__(self, values: Json, path: str = "") -> None:
        self._values = values
        self._path = path
        self._read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def name(self, name: str) -> str:
        """The full name of a parameter, as Stripe's messages say it."""
        return f"{self._path}[{name}]" if self._path else name

    def ignore(self, *names: str) -> None:
        """Accepts parameters that Stripe knows and that change nothing here."""
        self._read.update(names)

    def optional_text(self, name: str, longest: int = 5000) -> str | None:
        """A string; None when it is absent or empty."""
        value = self._take(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self._invalid(name, "Invalid string")
        if len(value) > longest:
            raise self._invalid(name, f"Invalid string: must be at most {longest} characters")
        return value

    def text(self, name: str, longest: int = 5000) -> str:
        """A string that must be there."""
        value = self.optional_text(name, longest)
        if value is None:
            raise self._missing(name)
        return value

    def choice(self, name: str, *choices: str, default: str | None = None) -> str:
        """One of some strings."""
        value = self.optional_text(name) or default
        if value is None:
            raise self._missing(name)
        if value not in choices:
            raise self._invalid(name, f"Invalid {self.name(name)}: must be one of {', '.join(choices)}")
        return value

    def optional_integer(self, name: str) -> int | None:
        """A whole number; None when it is absent."""
        value = self._take(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise self._invalid(name, f"Invalid integer: {value}", code="parameter_invalid_integer")
        return int(value)

    def integer(self, name: str) -> int:
        """A whole number that must be there."""
        value = self.optional_integer(name)
        if value is None:
            raise self._missing(name)
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """`true` or `false`."""
        value = self._take(name)
        if value is None or value == "":
            return default
        if value not in ("true", "false"):
            raise self._invalid(name, "Invalid boolean")
        return bool(value == "true")

    def optional_group(self, name: str) -> Parameters | None:
        """The parameters of an object inside; None when it is absent."""
        value = self._take(name)
        if value is None or value == "":
            return None
        if not isinstance(value, dict):
            raise self._invalid(name, "Invalid object")
        return Parameters(value, self.name(name))

    def groups(self, name: str) -> list[Parameters]:
        """The objects of a list; empty when it is absent."""
        found = []
        for index, value in self._list(name):
            if not isinstance(value, dict):
                raise self._invalid(name, "Invalid array")
            found.append(Parameters(value, f"{self.name(name)}[{index}]"))
        return found

    def texts(self, name: str) -> list[str]:
        """The strings of a list; empty when it is absent."""
        return [str(value) for _, value in self._list(name)]

    def metadata(self, before: Json | None = None, name: str = "metadata") -> dict[str, str]:
        """Key and value pairs, laid over those from before; an empty value removes its key, an empty whole all."""
        value = self._take(name)
        if value == "":
            return {}
        if value is not None and not isinstance(value, dict):
            raise self._invalid(name, "Invalid object")
        merged = dict(before or {}) | (value or {})
        kept = {str(key): text for key, text in merged.items() if text != ""}
        if len(kept) > _MOST_METADATA_KEYS:
            raise self._invalid(name, f"You can have up to {_MOST_METADATA_KEYS} metadata keys")
        for key, text in kept.items():
            if not isinstance(text, str) or len(key) > _LONGEST_METADATA_KEY or len(text) > _LONGEST_METADATA_VALUE:
                raise self._invalid(
                    name, f"Metadata keys have up to {_LONGEST_METADATA_KEY} characters, values are strings of up to"
                    f" {_LONGEST_METADATA_VALUE}"
                )  # fmt: skip
        return kept

    def finish(self) -> None:
        """Refuses what nobody read."""
        unknown = sorted(set(self._values) - self._read)
        if unknown:
            name = self.name(unknown[0])
            raise InvalidRequest(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)

    def _take(self, name: str) -> Any:
        self._read.add(name)
        return self._values.get(name)

    def _list(self, name: str) -> list[tuple[int, Any]]:
        value = self._take(name)
        if value is None or value == "":
            return []
        if not isinstance(value, dict) or not all(key.isdigit() for key in value):
            raise self._invalid(name, "Invalid array")
        return sorted((int(key), member) for key, member in value.items())

    def _missing(self, name: str) -> InvalidRequest:
        full = self.name(name)
        return InvalidRequest(f"Missing required param: {full}.", code="parameter_missing", param=full)

    def _invalid(self, name: str, message: str, code: str | None = None) -> InvalidRequest:
        return InvalidRequest(message, code=code, param=self.name(name))
