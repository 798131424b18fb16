"""Registries: names, refusals, order, and what packages offer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jaxchat.registry import Registry, RegistryError

GROUP = "jaxchat.test_things"
BUILTIN = {"pi": "math:pi", "tau": "math:tau"}


def things() -> Registry[float]:
    return Registry("thing", GROUP, BUILTIN)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs a package that offers entry points."""

    def installed(name: str, text: str) -> None:
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[{GROUP}]\n{text}\n")

    monkeypatch.syspath_prepend(str(tmp_path))
    return installed


def test_names_and_objects():
    registry = things()
    registry.register("one", 1.0)
    assert registry.get("one") == 1.0 and round(registry.get("pi"), 2) == 3.14
    assert registry.names() == ("one", "pi", "tau")
    assert "one" in registry and "two" not in registry


def test_the_latest_registration_comes_first():
    registry = things()
    registry.register("one", 1.0)
    registry.register("two", 2.0)
    assert list(registry) == ["two", "one", "tau", "pi"]
    registry.register("pi", 3.0, replace=True)
    assert next(registry.items()) == ("pi", 3.0)


def test_a_name_is_given_once():
    registry = things()
    with pytest.raises(RegistryError, match="thing 'pi' is registered already"):
        registry.register("pi", 3.0)
    assert registry.get("pi") > 3.1


def test_an_unknown_name_is_told_the_nearest_one():
    with pytest.raises(RegistryError, match="unknown thing 'tua', did you mean 'tau'"):
        things().get("tua")
    with pytest.raises(RegistryError, match=r"unknown thing 'zzz'; known: pi, tau"):
        things().get("zzz")


def test_packages_offer_objects_that_are_imported_on_first_use(install, tmp_path: Path):
    (tmp_path / "offered_thing.py").write_text("VALUE = 5.0\n")
    install("offering", "five = offered_thing:VALUE")
    registry = things()
    assert "five" in registry and "offered_thing" not in sys.modules
    assert registry.get("five") == 5.0
    sys.modules.pop("offered_thing")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("pi = math:pi", "thing 'pi' of package broken is registered by jaxchat already"),
        ("six = no_such_module:SIX", "thing 'six' of package broken cannot be imported"),
        ("six = math:SIX", "thing 'six' of package broken cannot be imported"),
    ],
)
def test_what_a_package_does_wrong_names_the_package(install, text: str, error: str):
    install("broken", text)
    registry = things()
    for _ in range(2):
        with pytest.raises(RegistryError, match=error):
            registry.get("six")
