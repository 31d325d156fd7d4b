"""Which files a stage's code consists of: ``python -m flows.adapters.dvc.code_dependencies`` writes
the code dependencies into dvc.yaml.

A stage depends on its own package and on every module of ``stages/core`` that package can reach by
import, no more: then a change reruns just what depends on it.
"""

from __future__ import annotations

import ast
from pathlib import Path

from ruamel.yaml import YAML

from stages.core.io import atomic_file


def code_dependencies(package: Path, root: Path = Path()) -> list[str]:
    """The package itself, then the modules outside it in its transitive static import closure, as
    paths below ``root``.

    A package a closure module lists by name (its ``__init__`` is imported and its siblings are
    found at run time) counts as a whole: a new file in it is a change.
    """
    folder = root / package
    closure = import_closure(sorted(folder.rglob("*.py")), root)
    outside = {str(module.relative_to(root)) for module in closure if folder not in module.parents}
    return [str(package), *sorted(_fold(outside, closure, root))]


def import_closure(modules: list[Path], root: Path) -> set[Path]:
    """These modules and every module of the project they reach by import, with the packages those
    lie in.
    """
    waiting, seen = list(modules), set(modules)
    while waiting:
        new = direct_imports(waiting.pop(), root) - seen
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
    return {file for file in folded if not _is_empty(root / file)}


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
    return {name for name in names if (root / name / "__init__.py").is_file()}


def _is_empty(path: Path) -> bool:
    """Whether a file holds nothing but a docstring: it cannot change an outcome."""
    if path.is_dir():
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
    """Modules of a package that is named in a string, as the registry does."""
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
            *(dep for dep in stage["deps"] if not dep.startswith("stages/")),
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
