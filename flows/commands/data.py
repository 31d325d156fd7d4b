"""``rootstock data``: dataset versions, and what changed between them."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import enter

command = typer.Typer(
    no_args_is_help=True, help="Dataset versions: tag, list, diff.", rich_markup_mode=None
)


@command.command()
def tag(
    name: Annotated[str, typer.Argument(metavar="NAME", help="For example v3.")],
    message: Annotated[
        str, typer.Option("-m", "--message", help="What this version adds or changes.")
    ],
) -> None:
    """Name the data of the workspace.

    Commits dvc.lock and params.yaml where they changed, and tags that commit data/NAME.
    """
    root = enter()
    from flows.data import versions as data_versions

    commit = data_versions.tag(root, name, message)
    print(
        f"dataset version {name} is commit {commit[:10]} (git push origin data/{name} and dvc push"
        " share it)"
    )


@command.command("list")
def versions() -> None:
    """List the dataset versions, with the hash of their images."""
    root = enter()
    from flows.data.versions import DataVersion
    from flows.project import worktrees
    from flows.project.git import git
    from stages.core import paths

    names = worktrees.data_tags(root)
    if not names:
        print(
            "no dataset version yet: rootstock data tag NAME -m MESSAGE makes one of the"
            " workspace's data"
        )
    for name in names:
        version = DataVersion(root, name)
        about = git(
            root, "tag", "--list", "--format=%(contents:subject)", f"{worktrees.DATA_TAGS}{name}"
        )
        print(
            f"{name:<12} {version.commit[:10]}  {version.digest(paths.POOL) or 'no data/pool':<36} "
            f" {about}"
        )


@command.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="V1")],
    second: Annotated[str, typer.Argument(metavar="V2", help="A version, or WORKDIR.")] = "WORKDIR",
) -> None:
    """Say which images changed between two versions, and how.

    Added, removed, moved between splits, relabelled, re-kept by curation; and whether the pixels
    drifted.
    """
    root = enter()
    from flows.data import diff as data_diff
    from flows.data.versions import DataVersion
    from stages.core.params import load_params

    params = load_params()
    old, new = DataVersion(root, first), DataVersion(root, second)
    found = data_diff.compare(old, new, params.monitor, params.seed)
    for kind, table in found.tables.items():
        print(f"{kind:<11} {len(table):>8,}  {data_diff.KINDS[kind]}")
        for label, source, was, now, count in data_diff.summary(table)[:12]:
            print(
                f"{'':<11} {count:>8}  {label}"
                f" ({source}){f': {was} → {now}' if was and now else ''}"
            )
    for version in (old, new):
        if old.curated != new.curated and not version.curated:
            print(
                f"re-kept was not looked at: {version.name} has not been curated since its images"
                " changed"
            )
    if found.note:
        print(found.note)
    print(found.sentence)
    print(f"report: {data_diff.write(found, old, new, root)}")
