"""``rootstock methods``: the plugins that params.yaml can name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stages.core.families import Family


def command(
    markdown: Annotated[bool, typer.Option(help="Print the tables of docs/families.md.")] = False,
) -> None:
    """List what there is to choose from, with paper and settings."""
    from stages.core.families import FAMILIES

    print("\n\n".join(map(as_markdown if markdown else as_text, FAMILIES)))


def as_text(family: Family) -> str:
    """Return a family as lines: name, paper or purpose, settings with their defaults."""
    lines = [f"{family.title} ({family.key})"]
    for name in family.names():
        member = family.describe(name)
        lines.append(f"  {name:<16} {member.purpose}")
        if member.settings:
            given = ", ".join(f"{key}={value}" for key, value in member.settings.items())
            lines.append(f"  {'':<16} settings: {given}")
    return "\n".join(lines)


def as_markdown(family: Family) -> str:
    """Return a family as a section with a table."""
    lines = [
        f"## {family.title.capitalize()}",
        "",
        f"Named by `{family.key}`; one file each in `{family.folder}/`.",
        "",
        "| name | purpose or paper | settings |",
        "|---|---|---|",
    ]
    for name in family.names():
        member = family.describe(name)
        given = ", ".join(f"`{key}={value}`" for key, value in member.settings.items())
        cells = [f"`{name}`", member.purpose, given]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)
