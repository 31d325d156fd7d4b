"""dvc.yaml says exactly what a stage depends on, and flows, stages and tools stay where they
belong.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import networkx
import pytest
import yaml

from benchmarks.support.checkout import ROOT
from flows.adapters.dvc.code_dependencies import code_dependencies, direct_imports, import_closure
from stages.core import paths

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PACKAGES = [name for name in STAGES if (ROOT / "stages" / name).is_dir()]
TOOLS = {"prefect", "dvc", "mlflow", "great_expectations"}
BARE = {
    *sys.stdlib_module_names,
    *(
        "stages",
        "torch",
        "torchvision",
        "timm",
        "safetensors",
        "pydantic",
        "sklearn",
        "pandas",
        "pyarrow",
    ),
    *("numpy", "scipy", "PIL", "yaml", "threadpoolctl"),  # what those bring
    "simplejpeg",  # used where there is one
}
"""What a machine that only trains has installed."""
SKIPPED = {
    ".venv",
    ".git",
    ".dvc",
    "mlruns",
    ".prefect",
    ".rootstock",
    "data",
    "models",
    "reports",
    "metrics",
}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_stage_depends_on_exactly_the_code_it_can_reach(name: str) -> None:
    declared = [path for path in STAGES[name]["deps"] if path.startswith("stages/")]
    assert declared == code_dependencies(Path("stages") / name, ROOT), (
        "python -m flows.adapters.dvc.code_dependencies writes what is right"
    )


@pytest.mark.parametrize("name", PACKAGES)
def test_a_stage_declares_the_parameter_sections_it_reads(name: str) -> None:
    sections = {
        section for file in (ROOT / "stages" / name).rglob("*.py") for section in _sections(file)
    }
    assert sections <= {key.partition(".")[0] for key in STAGES[name]["params"]}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_stage_declares_every_artifact_it_names(name: str) -> None:
    text = "".join(file.read_text() for file in (ROOT / "stages" / name).rglob("*.py"))
    named = {str(getattr(paths, constant)) for constant in re.findall(r"paths\.([A-Z_]+)\b", text)}
    named |= {
        str(getattr(paths, kind)(stage))
        for kind, stage in re.findall(r'paths\.(metrics|reports)\("(\w+)"\)', text)
    }
    stage = STAGES[name]
    declared = {Path(path) for path in [*stage["deps"], *stage["outs"], *stage["metrics"]]}
    outside = {str(paths.CACHE), str(paths.RESUME), str(paths.DATA_DOCS)}
    missing = {path for path in named - outside if not declared & {Path(path), *Path(path).parents}}
    assert not missing


def _sections(file: Path) -> set[str]:
    """``params.pretrain`` → ``pretrain``; only where the whole of params.yaml is called params."""
    found = re.findall(r"\bparams\.([a-z_]+)\b(?!\()", file.read_text())
    return {name.removesuffix("_") for name in found} & {"seed", "budget", *STAGES}


def test_every_stage_is_a_module_of_its_own_and_frozen_by_nothing() -> None:
    for name, stage in STAGES.items():
        assert stage["cmd"] == f"python -m stages.{name}"
        assert not {"frozen", "always_changed", "foreach"} & set(stage)
        assert stage["desc"] and "resources" in stage["meta"]
        assert f"metrics/{name}.json" in stage["metrics"]


def test_a_package_with_a_program_is_a_stage_of_the_graph() -> None:
    assert {folder.parent.name for folder in (ROOT / "stages").glob("*/__main__.py")} == set(STAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_stage_imports_its_own_package_and_core_only(name: str) -> None:
    for module in sorted((ROOT / "stages" / name).rglob("*.py")):
        for imported in imports(module):
            top, _, rest = imported.partition(".")
            assert top != "flows", f"{module} imports {imported}"
            assert top != "stages" or rest.partition(".")[0] in {
                "core",
                name,
                "",
            }, f"{module} imports {imported}"
            allowed = name == "validate" and top == "great_expectations"
            assert top not in TOOLS or allowed, f"{module} imports {imported}"


def test_core_imports_no_stage_no_flow_and_no_tool() -> None:
    for module in sorted((ROOT / "stages/core").rglob("*.py")):
        for imported in imports(module):
            top, _, rest = imported.partition(".")
            assert top not in {*TOOLS, "flows"}, f"{module} imports {imported}"
            assert top != "stages" or rest.partition(".")[0] in {
                "core",
                "",
            }, f"{module} imports {imported}"


@pytest.mark.parametrize("name", ["pretrain", "distill", "finetune"])
def test_training_needs_no_more_than_a_bare_gpu_machine_has(name: str) -> None:
    for module in import_closure(sorted((ROOT / "stages" / name).rglob("*.py")), ROOT):
        assert {found.partition(".")[0] for found in imports(module)} <= BARE, module


def test_flows_import_no_stage_and_load_no_torch_by_themselves() -> None:
    for module in sorted((ROOT / "flows").rglob("*.py")):
        for imported in imports(module):
            assert not imported.startswith("stages.") or imported.split(".")[1] == "core", (
                f"{module} imports {imported}"
            )
        for imported in imports(module, top_level=True):
            assert imported.partition(".")[0] != "torch", f"{module} imports {imported}"


def test_no_module_imports_what_imports_it_however_far_round() -> None:
    """But one: a store opens the other kind where the directory holds that."""
    modules = sorted([*(ROOT / "flows").rglob("*.py"), *(ROOT / "stages").rglob("*.py")])
    graph = networkx.DiGraph(
        (module, other)
        for module in modules
        for other in direct_imports(module, ROOT)
        if other != module
    )
    circles = [
        sorted(str(file.relative_to(ROOT)) for file in found)
        for found in networkx.strongly_connected_components(graph)
    ]
    assert [circle for circle in circles if len(circle) > 1] == [
        ["stages/core/image/jpeg_store.py", "stages/core/image/pixel_store.py"]
    ]


def test_great_expectations_is_imported_late() -> None:
    for module in sorted((ROOT / "stages/validate").rglob("*.py")):
        assert "great_expectations" not in {
            name.partition(".")[0] for name in imports(module, top_level=True)
        }


def test_nothing_reads_or_writes_pickle() -> None:
    for module in sorted([*(ROOT / "flows").rglob("*.py"), *(ROOT / "stages").rglob("*.py")]):
        names = {name.partition(".")[0] for name in imports(module)}
        assert not names & {"pickle", "cloudpickle", "joblib", "dill", "shelve"}, module
        text = module.read_text()
        assert "torch.save(" not in text and "allow_pickle=True" not in text, module
        for call in re.findall(r"torch\.load\([^)]*\)", text):
            assert "weights_only=True" in call, f"{module}: {call}"


def test_a_stage_main_is_one_screen() -> None:
    for name in PACKAGES:
        assert len((ROOT / "stages" / name / "__main__.py").read_text().splitlines()) < 100


def test_the_closure_follows_nested_and_relative_imports(tmp_path: Path) -> None:
    for path, text in {
        "stages/__init__.py": "",
        "stages/core/__init__.py": "",
        "stages/core/a.py": "def late():\n    from stages.core import b\n",
        "stages/core/b.py": "VALUE = 1\n",
        "stages/core/unused.py": "VALUE = 2\n",
        "stages/core/ops/__init__.py": "NAME = 'ops'\n",
        "stages/core/ops/one.py": "VALUE = 3\n",
        "stages/x/__init__.py": "",
        "stages/x/__main__.py": (
            "from .inner import go\nfrom stages.core.plugins import load\nload('stages.core.ops',"
            " 'one')\n"
        ),
        "stages/x/inner.py": "from stages.core.a import late as go\n",
        "stages/core/plugins.py": "def load(package, name): ...\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = code_dependencies(Path("stages/x"), tmp_path)
    assert found == [
        "stages/x",
        "stages/core/a.py",
        "stages/core/b.py",
        "stages/core/ops",
        "stages/core/plugins.py",
    ]
    assert tmp_path / "stages/core/ops/one.py" in import_closure(
        [tmp_path / "stages/x/__main__.py"], tmp_path
    )


def imports(module: Path, top_level: bool = False) -> set[str]:
    """Full names a module imports, relative ones made absolute."""
    tree = ast.parse(module.read_text())
    nodes = [
        node
        for node in (tree.body if top_level else ast.walk(tree))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif node.level:
            package = module.relative_to(ROOT).parent.parts
            found.add(".".join([*package[: len(package) - node.level + 1], node.module or ""]))
        else:
            found.add(node.module or "")
    return found
