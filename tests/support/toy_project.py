"""A small real project whose stages are scripts that add a letter; ``rootstock`` runs in it, in
this process or its own.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
STAGE = '''
"""A stage that copies its inputs' letters and adds its own."""
import time
from pathlib import Path
from stages.core.errors import Refused
from stages.core.stage import stage
from stages.core.events import Tracker
from stages.core.io import atomic_directory, write_metrics, write_text
from stages.core.params import Params
{imports}

@stage("{name}")
def main(params: Params, track: Tracker) -> None:
    """Adds a letter."""
    before = "".join(Path(path).read_text() for path in {inputs!r})
{body}
    track.metrics({{"letters": float(len(before) + 1)}}, step=1)
    write_text("{output}", before + "{letter}")
    write_metrics("metrics/{name}.json", {{"letters": len(before) + 1}})


if __name__ == "__main__":
    main()
'''


class Project:
    """A project in a folder of its own; ``rootstock`` runs the real command line in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        written = root / "dvc.yaml"
        self.stages: dict[str, dict[str, object]] = (
            yaml.safe_load(written.read_text())["stages"] if written.is_file() else {}
        )

    def add(
        self,
        name: str,
        inputs: list[str],
        output: str,
        letter: str,
        body: str = "    pass",
        params: list[str] | None = None,
    ) -> None:
        """A stage as one script, in dvc.yaml."""
        script = self.root / "little" / name / "run.py"
        script.parent.mkdir(parents=True, exist_ok=True)
        text = STAGE.format(
            name=name, inputs=inputs, body=body, output=output, letter=letter, imports=""
        )
        script.write_text(text)
        deps = [f"little/{name}", *inputs]
        self.stages[name] = {
            "cmd": f"python little/{name}/run.py",
            "deps": deps,
            "params": params or ["seed"],
            "outs": [output],
            "metrics": [{f"metrics/{name}.json": {"cache": True}}],
            "meta": {"headline": "letters"},
        }
        self.write()

    def write(self) -> None:
        """Write dvc.yaml."""
        (self.root / "dvc.yaml").write_text(
            yaml.safe_dump({"stages": self.stages}, sort_keys=False)
        )

    def git(self, *arguments: str) -> None:
        """Run git, loudly when it fails."""
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        subprocess.run(
            ["git", *identity, *arguments], cwd=self.root, check=True, capture_output=True
        )

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Nothing of the tests' own tools leaks in, but the session's Prefect server."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PREFECT_", "MLFLOW_", "DVC_"))
        }
        server = {key: os.environ[key] for key in ("PREFECT_API_URL",) if key in os.environ}
        return {**kept, **server, "PYTHONPATH": str(ROOT), **(extra or {})}

    def start(
        self, *arguments: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start ``rootstock`` without waiting for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *arguments],
            cwd=cwd or self.root,
            env=self.environment(environment),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def afresh(self, *arguments: str) -> Finished:
        """Run ``rootstock`` to its end in a process of its own, which has no store open."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return Finished(process.returncode, out, err)

    def rootstock(
        self, *arguments: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Finished:
        """Run ``rootstock`` to its end, in this process: the same code without the seconds of
        importing everything again.
        """
        out, err = io.StringIO(), io.StringIO()
        before = dict(os.environ), Path.cwd(), sys.argv
        settings = self.environment(environment)
        try:
            os.environ.clear()
            os.environ.update(settings)
            os.chdir(cwd or self.root)
            sys.argv = ["rootstock", *arguments]
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = _exit_code()
        finally:
            os.environ.clear()
            os.environ.update(before[0])
            os.chdir(before[1])
            sys.argv = before[2]
        return Finished(code, out.getvalue(), err.getvalue())

    def text(self, path: str) -> str:
        """The content of a file."""
        return (self.root / path).read_text()

    def states(self, out: str) -> dict[str, str]:
        """Stage → state, from the table a run ends with."""
        found = {}
        for line in out.splitlines():
            words = line.split()
            if len(words) >= 2 and words[0] in self.stages and "│" not in line:
                found[words[0]] = words[1]
        return found


class Finished:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


def _exit_code() -> int:
    from flows.cli import main

    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@contextlib.contextmanager
def holding(project: Project, *arguments: str) -> Iterator[None]:
    """While the workspace holds what ``rootstock run`` with these arguments makes; afterwards it is
    as before.
    """
    params = project.root / "params.yaml"
    before = params.read_text()
    try:
        done = project.rootstock("run", *arguments)
        assert done.code == 0, done
        yield
    finally:
        params.write_text(before)
        assert project.rootstock("run", *arguments[:2]).code == 0
