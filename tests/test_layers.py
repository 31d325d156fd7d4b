"""Layers: imports go down only, and each tool is imported where it is at home."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.support.checkout import ROOT
from tests.test_code_dependencies import imports

FLOWS = (
    "process < adapters.dvc, adapters.prefect < adapters.mlflow < project < registry"
    " < data, serving < evaluation < lineage < promotion < pipeline < monitoring, experiment"
    " < deployments < commands < cli, schedules"
)
CORE = "base < views, metrics < data < image < models, training < losses < transfer, serving"
HOMES = {
    "dvc": {"adapters.dvc"},
    "mlflow": {"adapters.mlflow", "registry", "serving"},
    "prefect": {"adapters.prefect", "deployments", "experiment", "pipeline"},
    "torch": set(),
}


def layers(order: str) -> dict[str, int]:
    """Package → its floor; packages on one floor do not import each other."""
    floors = enumerate(order.split(" < "))
    return {name: floor for floor, names in floors for name in names.split(", ")}


def package(module: str, known: dict[str, int], rest: str) -> str:
    """The package of the order that a dotted name below the top belongs to."""
    return next((name for name in known if f"{module}.".startswith(f"{name}.")), rest)


@pytest.mark.parametrize(("top", "order"), [("flows", FLOWS), ("stages.core", CORE)])
def test_imports_go_down_only(top: str, order: str) -> None:
    known, wrong = layers(order), []
    for file in sorted(ROOT.joinpath(*top.split(".")).rglob("*.py")):
        me = package(dotted(file).removeprefix(f"{top}."), known, "base")
        for imported in imports(file):
            if imported.startswith(f"{top}."):
                other = package(imported.removeprefix(f"{top}."), known, "base")
                if other != me and known.get(other, -1) >= known.get(me, -1):
                    wrong.append(f"{dotted(file)} imports {imported}")
    assert not wrong, "\n".join(wrong)


def test_each_tool_is_imported_where_it_is_at_home() -> None:
    known, wrong = layers(FLOWS), []
    for file in sorted((ROOT / "flows").rglob("*.py")):
        me = package(dotted(file).removeprefix("flows."), known, "base")
        tools = {imported.partition(".")[0] for imported in imports(file)}
        wrong += [f"{dotted(file)}: {tool}" for tool in tools & set(HOMES) if me not in HOMES[tool]]
    assert not wrong, "\n".join(wrong)


def test_the_python_module_is_above_everything_and_knows_no_tool() -> None:
    code = [*(ROOT / "flows").rglob("*.py"), *(ROOT / "stages").rglob("*.py")]
    assert not [str(file) for file in code if "rootstock" in map(top, imports(file))]
    assert not set(HOMES) & set(map(top, imports(ROOT / "rootstock/__init__.py")))
    loaded = set(map(top, imports(ROOT / "rootstock/__init__.py", top_level=True)))
    assert "flows" not in loaded, "import rootstock stays quick"


def test_flows_touch_no_tensor() -> None:
    """They ask stages.core.models.batch_inference, which takes and returns numpy arrays."""
    calls = re.compile(r"\.(gather|predict_proba|numpy)\(|\bTensor\b")
    files = sorted((ROOT / "flows").rglob("*.py"))
    assert not [str(file) for file in files if calls.search(file.read_text())]


def top(module: str) -> str:
    """The first part of a dotted name."""
    return module.partition(".")[0]


def dotted(file: Path) -> str:
    """The module's name."""
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")
