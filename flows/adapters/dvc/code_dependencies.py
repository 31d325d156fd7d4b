"""Code dependencies: ``python -m flows.adapters.dvc.code_dependencies`` writes them into dvc.yaml.

A stage depends on its own package and on every module of ``stages/core`` that package can reach by
import, no more: then a change reruns just what depends on it. Of a folder of plugins it depends on
those that params.yaml names: their hashes are in ``.rootstock/plugins/<stage>.json``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

from ruamel.yaml import YAML

from stages.core import paths
from stages.core.families import FAMILIES
from stages.core.io import atomic_file

TRACKED = {family.package for family in FAMILIES if family.stages}
"""Packages of plugins whose members are hashed one by one, in ``.rootstock/plugins``."""


def code_dependencies(package: Path, root: Path = Path()) -> list[str]:
    """Return the package itself, then the modules outside it in its static import closure.

    All are paths below ``root``. Of a package with plugins, what is no plugin. A package of core
    that a module names in a string counts as a whole, since its modules are found by name.
    """
    families = {root / family.folder for family in FAMILIES if package in family.folder.parents}
    own = sorted(_own_files(root / package, families)) if families else [root / package]
    modules = [file for path in own for file in ([path] if path.is_file() else path.rglob("*.py"))]
    closure = import_closure(sorted(file for file in modules if file.suffix == ".py"), root)
    outside = {
        str(module.relative_to(root))
        for module in closure
        if not {module, *module.parents} & set(own)
    }
    kept = [str(path.relative_to(root)) for path in own]
    kept = [path for path in kept if not is_empty(root / path)]
    return [*kept, *sorted(_fold(outside, closure, root))]


def has_plugins(package: Path) -> bool:
    """Whether a stage loads plugins."""
    return any(package.name in family.stages for family in FAMILIES)


def _own_files(folder: Path, families: set[Path]) -> list[Path]:
    """What a stage's package holds besides plugins: files, and folders without plugins in them."""
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name == "__pycache__" or path in families:
            continue
        inside = any(path in family.parents for family in families)
        found += _own_files(path, families) if inside else [path]
    return found


def import_closure(
    modules: list[Path], root: Path, known: Callable[[Path], bool] = lambda module: False
) -> set[Path]:
    """Return these modules and every module of the project they reach by import, with the packages
    they are in; modules that are ``known`` already are left out, and not followed.
    """
    waiting, seen = list(modules), set(modules)
    while waiting:
        found = direct_imports(waiting.pop(), root) - seen
        new = {module for module in found if not known(module)}
        seen |= new
        waiting += new
    return seen


def _fold(files: set[str], closure: set[Path], root: Path) -> set[str]:
    """Replace the modules of a package that the closure names in a string by the package: its files
    are found by name.
    """
    named = {package for module in closure for package in _named_packages(module, root)}
    folded = {
        next((str(above) for above in reversed(Path(file).parents) if str(above) in named), file)
        for file in files
    }
    return {file for file in folded if not is_empty(root / file)}


def _named_packages(module: Path, root: Path) -> set[str]:
    """Folders of stages/core that a module names as a registry does:
    ``"stages.core.image.views.ops"``.
    """
    strings = (
        node.value
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Constant)
    )
    names = {
        text.replace(".", "/")
        for text in strings
        if isinstance(text, str) and text.startswith("stages.core.")
    }
    found = {name for name in names if (root / name / "__init__.py").is_file()}
    return found - {package.replace(".", "/") for package in TRACKED}


def is_empty(path: Path) -> bool:
    """Whether a file holds nothing but a docstring: it cannot change an outcome."""
    if path.suffix != ".py":
        return False
    body = ast.parse(path.read_text()).body
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


def direct_imports(module: Path, root: Path) -> set[Path]:
    """Files of the project that one module imports, at whatever depth of its code, with the
    packages above them.
    """
    wanted: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            wanted |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, root)
            wanted |= {base, *(f"{base}.{name.name}" for name in node.names)}
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.startswith("stages.core.")
        ):
            wanted |= {node.value, *_siblings(node.value, root)}
    files = set()
    for name in wanted:
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            stem = root.joinpath(*parts[:depth])
            files |= {
                path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()
            }
    return files


def _absolute(node: ast.ImportFrom, module: Path, root: Path) -> str:
    if not node.level:
        return node.module or ""
    package = module.relative_to(root).parent.parts
    return ".".join(
        [*package[: len(package) - node.level + 1], *([node.module] if node.module else [])]
    )


def _siblings(package: str, root: Path) -> set[str]:
    """Modules of a package that is named in a string, as the registry does; none of a package whose
    members are tracked one by one.
    """
    if package in TRACKED:
        return set()
    folder = root.joinpath(*package.split("."))
    return {f"{package}.{file.stem}" for file in folder.glob("*.py")} if folder.is_dir() else set()


def write_dependencies(path: Path = Path("dvc.yaml")) -> list[str]:
    """Bring the code dependencies of every ``python -m stages.<stage>`` in dvc.yaml up to date;
    returns the stages changed.

    Dependencies on data, parameters, comments and order stay as they are.
    """
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 4096
    editor.indent(mapping=2, sequence=4, offset=2)
    document = editor.load(path.read_text())
    changed = []
    for name, stage in document["stages"].items():
        package = Path(*str(stage["cmd"]).removeprefix("python -m ").split("."))
        if not (path.parent / package / "__main__.py").is_file():
            continue
        wanted = [
            *code_dependencies(package, path.parent),
            *([str(paths.plugins(name))] if has_plugins(package) else []),
            *(dep for dep in stage["deps"] if not dep.startswith(("stages/", str(paths.PLUGINS)))),
        ]
        if list(stage["deps"]) != wanted:
            stage["deps"][:] = wanted
            changed.append(name)
    if changed:
        with atomic_file(path) as temporary:
            editor.dump(document, temporary)
    return changed


def main() -> None:
    """Rewrite the code dependencies in dvc.yaml."""
    changed = write_dependencies()
    print(
        f"dvc.yaml: code dependencies of {', '.join(changed)} rewritten"
        if changed
        else "dvc.yaml: code dependencies are right"
    )


if __name__ == "__main__":
    main()
