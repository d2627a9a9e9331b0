"""The catalogue: packages and the bounds of a custom purchase. Data that an operator edits, not code."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from cascade.domain.money import DUCAT, USD, Asset, Money
from cascade.errors import InvalidInput, SettingsError

_PACKAGE_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Package:
    """A fixed number of ducats with a bonus on top; the bonus is not charged for."""

    id: str
    name: str
    ducats: Money
    bonus: Money


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The catalogue of packages and custom purchases.

    Attributes:
        packages: by id, in the order of the file.
        minimum: least custom purchase, in US dollars.
        maximum: largest custom purchase, in US dollars.
        custom_bonus: a custom purchase gets the bonus rate of the best package that its amount would pay for.
    """

    packages: Mapping[str, Package]
    minimum: Money
    maximum: Money
    custom_bonus: bool = False

    @classmethod
    def from_toml(cls, text: str) -> Catalogue:
        """Read a catalogue.

        Raises:
            SettingsError: the text is no TOML, a value is missing or wrong, or an id comes twice.
        """
        try:
            data = tomllib.loads(text)
            packages = [_package(entry) for entry in data["packages"]]
            minimum = _amount(data["custom"], "minimum_usd", USD)
            maximum = _amount(data["custom"], "maximum_usd", USD)
            custom_bonus = data["custom"].get("bonus", False)
        except KeyError as missing:
            raise SettingsError(f"catalogue: {missing} is missing") from None
        except (ValueError, TypeError) as error:  # tomllib's own error is a ValueError
            raise SettingsError(f"catalogue: {error}") from None
        by_id = {package.id: package for package in packages}
        if len(by_id) != len(packages):
            raise SettingsError("catalogue: two packages have the same id")
        if not Money(USD, 0) < minimum or maximum < minimum:
            raise SettingsError(f"catalogue: custom purchases from {minimum} to {maximum} USD make no range")
        if not isinstance(custom_bonus, bool):
            raise SettingsError(f"catalogue: bonus = {custom_bonus!r} of custom purchases must be true or false")
        return cls(by_id, minimum, maximum, custom_bonus)

    def package(self, package_id: str) -> Package:
        """Return the package with this id; upper and lower case are the same.

        Raises:
            InvalidInput: there is none; the message lists those there are.
        """
        try:
            return self.packages[package_id.lower()]
        except KeyError:
            known = ", ".join(self.packages) or "none"
            raise InvalidInput("package", f"There is no package {package_id!r}. For sale: {known}.") from None

    def check_custom(self, usd: Money) -> None:
        """Refuse a custom purchase outside the bounds.

        Raises:
            InvalidInput: below the minimum or above the maximum.
        """
        if usd < self.minimum or self.maximum < usd:
            raise InvalidInput(
                "usd_amount",
                f"A custom purchase is from {self.minimum.display()} to {self.maximum.display()} USD, "
                f"not {usd.display()} USD.",
            )


def _package(entry: Mapping[str, object]) -> Package:
    package_id, name = entry["id"], entry["name"]
    if not isinstance(package_id, str) or not _PACKAGE_ID.fullmatch(package_id):
        raise ValueError(f"package id {package_id!r} must be lower-case letters, digits, - and _")
    if not isinstance(name, str) or not name:
        raise ValueError(f"package {package_id} needs a name")
    ducats = _amount(entry, "ducats", DUCAT)
    if ducats.units == 0:
        raise ValueError(f"package {package_id} holds no ducats")
    return Package(package_id, name, ducats, _amount(entry, "bonus", DUCAT))


def _amount(entry: Mapping[str, object], key: str, asset: Asset) -> Money:
    value = entry[key]
    if not isinstance(value, str):
        raise ValueError(f'{key} = {value!r} must be a decimal in quotes, e.g. "{value}"')
    return Money.parse(value, asset)
