"""What ``--help`` says fits a narrow terminal."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("group", [[], ["data"]])
def test_no_command_is_described_by_half_a_sentence(bare_project: Any, group: list[str]) -> None:
    shown = bare_project.rootstock(*group, "--help", environment={"COLUMNS": "80"})
    commands = shown.out.partition("Commands:")[2].strip().splitlines()
    assert shown.code == 0 and len(commands) >= 3, shown
    assert all(line.endswith(".") and not line.endswith("...") for line in commands), shown
