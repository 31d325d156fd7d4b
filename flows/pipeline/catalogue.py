"""``rootstock methods``: everything a parameter can name, found as the stages find it."""

from __future__ import annotations

import ast
from pathlib import Path

from stages.core import plugins

SHELVES = {
    "objectives (pretrain.method, pretrain.control)": "stages.pretrain.methods",
    "audits (validate.audits)": "stages.validate.audits",
    "curation operators (curate.steps)": "stages.curate.operators",
    "encoders (curate.encoder)": "stages.curate.encoders",
    "view policies (augment.policy)": "stages.augment.policies",
    "view operations": "stages.core.image.views.ops",
    "gates (promote.gates)": "flows.promotion.gates",
}


def show() -> None:
    """Print each shelf: name, paper or purpose, settings. Read from the source, so nothing heavy is
    imported.
    """
    for title, package in SHELVES.items():
        known = plugins.names(package)
        if not known:
            continue
        print(title)
        for name in known:
            purpose, settings = describe(plugins.ROOT.joinpath(*package.split("."), f"{name}.py"))
            print(f"  {name:<16} {purpose}")
            if settings:
                print(f"  {'':<16} settings: {settings}")
        print()


def describe(module: Path) -> tuple[str, str]:
    """The paper (or the first line of the docstring) and the settings with their defaults."""
    body = ast.parse(module.read_text())
    purpose = " ".join((ast.get_docstring(body) or "").partition("\n\n")[0].split())
    settings: list[str] = []
    for node in ast.walk(body):
        if isinstance(node, ast.ClassDef) and node.name == "Settings":
            fields = [
                field
                for field in node.body
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            ]
            settings += [
                f"{ast.unparse(field.target)}={ast.unparse(field.value)}"
                for field in fields
                if field.value is not None
            ]
        for keyword in node.keywords if isinstance(node, ast.Call) else []:
            if keyword.arg == "paper" and isinstance(keyword.value, ast.Constant):
                purpose = str(keyword.value.value)
    return purpose, ", ".join(settings)
