"""Every member of every family keeps the contract of its family, and is documented."""

from __future__ import annotations

import ast
import inspect

import pytest
from pydantic import ValidationError

from benchmarks.support.checkout import ROOT
from flows.commands.methods import as_markdown, as_text
from stages.core.errors import ConfigError
from stages.core.families import FAMILIES, Family
from stages.core.params import load_params

MEMBERS = [
    pytest.param(family, name, id=f"{family.key}-{name}")
    for family in FAMILIES
    for name in family.names()
]


def classes(family: Family, name: str) -> list[type]:
    """The classes that a member module defines."""
    module = family.load(name)
    kinds = [kind for kind in vars(module).values() if inspect.isclass(kind)]
    return [kind for kind in kinds if kind.__module__ == module.__name__]


@pytest.mark.parametrize(("family", "name"), MEMBERS)
class TestEveryMember:
    """What a stranger who adds a file must provide."""

    def test_it_defines_what_its_family_needs(self, family: Family, name: str) -> None:
        module = family.load(name)
        for needed in family.needs:
            if needed == "@method":
                named = [kind for kind in classes(family, name) if vars(kind).get("name") == name]
                assert len(named) == 1, f"one class decorated with @method({name!r}, paper=…)"
                assert "paper" in vars(named[0])
            else:
                assert hasattr(module, needed), needed

    def test_it_says_what_it_is(self, family: Family, name: str) -> None:
        assert len(family.describe(name).purpose) > 10

    def test_an_unknown_setting_is_refused(self, family: Family, name: str) -> None:
        held = [family.load(name), *classes(family, name)]
        for settings in (vars(one)["Settings"] for one in held if "Settings" in vars(one)):
            with pytest.raises(ValidationError):
                settings.model_validate({"no_such_setting": 1})

    def test_a_name_with_a_slip_is_refused_with_the_nearest(
        self, family: Family, name: str
    ) -> None:
        slip = name[:-1] + "0"
        if slip not in family.names():
            with pytest.raises(ConfigError, match=rf"^{family.key}: .*{slip}.* choose from "):
                family.check(slip)

    def test_it_is_listed(self, family: Family, name: str) -> None:
        assert f"  {name} " in as_text(family)
        assert f"| `{name}` |" in as_markdown(family)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.key)
def test_the_defaults_name_members_only(family: Family) -> None:
    assert set(family.used(load_params(ROOT / "params.yaml"))) <= set(family.names())


def test_every_folder_of_plugins_belongs_to_a_family() -> None:
    """A package whose modules are loaded by name is in the list, or the list is not the truth."""
    known = {family.package for family in FAMILIES}
    for file in sorted((ROOT / "stages").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                folder = ROOT.joinpath(*node.value.split("."))
                named = node.value.startswith("stages.") and node.value.count(".") > 1
                if named and (folder / "__init__.py").is_file():
                    assert node.value in known, f"{file} names {node.value}"


def test_the_documented_tables_are_those_of_the_code() -> None:
    written = (ROOT / "docs/families.md").read_text()
    for family in FAMILIES:
        assert as_markdown(family) in written, "rootstock methods --markdown says otherwise"
