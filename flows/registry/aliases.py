"""Which version is champion: the names move in an order that no crash can break, forwards and
back.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from datetime import UTC, datetime

from flows.adapters.mlflow.store import Store
from flows.adapters.prefect import events
from flows.project.git import answer
from flows.registry import versions
from flows.registry.registration import one_at_a_time
from flows.registry.versions import CANDIDATE, CHAMPION, CLASSIFIER, PREVIOUS, ModelVersion
from stages.core.errors import ConfigError, Refused

ROLLED_BACK, ROLLED_BACK_WHY = "rootstock.rolled_back_at", "rootstock.rolled_back_why"
PROMOTED_AT, UNSEEN = "rootstock.promoted_at", "rootstock.rolled_back_to_unseen"
"""The second marks a version that never was champion until somebody rolled back to it by its
number.
"""


def rollback(store: Store, why: str, to: str | None = None) -> tuple[ModelVersion, ModelVersion]:
    """Make ``previous`` (or version ``to``) champion again; returns the new and the old champion.

    Raises:
        ConfigError: nothing to go back to, or only to what was rolled back itself: who asks twice
            does not want it again.
    """
    champion = versions.by_alias(store, CHAMPION)
    target = versions.get(store, CLASSIFIER, to) if to else versions.by_alias(store, PREVIOUS)
    if target is None or champion is None:
        missing = (
            "no previous champion: name another version with --to" if champion else "no champion"
        )
        raise ConfigError(f"there is nothing to roll back to: {CLASSIFIER} has {missing}")
    if target.number == champion.number:
        raise ConfigError(f"version {target.number} is champion already: name another with --to")
    if target.tags.get(ROLLED_BACK) and not to:
        told = (
            f"version {target.number}, was itself rolled back ({target.tags.get(ROLLED_BACK_WHY)})"
        )
        raise ConfigError(f"the champion before this one, {told}: name a version with --to")
    unseen = "" if target.tags.get(PROMOTED_AT) else "true"
    promote_alias(
        target,
        champion,
        {"rootstock.promoted_why": f"rollback: {why}", UNSEEN: unseen},
        kind="rollback",
    )
    champion.tag({ROLLED_BACK_WHY: why, ROLLED_BACK: now()})
    return versions.get(store, CLASSIFIER, target.number), champion


def promote_alias(
    target: ModelVersion,
    champion: ModelVersion | None,
    tags: Mapping[str, str],
    kind: str = "promotion",
) -> None:
    """Point ``champion`` at ``target``. Each write leaves exactly one champion, the old until the
    very last step.

    The facts are written first and name the version that is replaced, then ``previous``, then the
    one alias that counts.
    """
    store = target.store
    with one_at_a_time():
        serving = versions.aliases(store).get(CHAMPION)
        if serving != (champion.number if champion else None):
            raise Refused(
                f"version {serving} became champion while the gates were computed: run rootstock"
                " promote again"
            )
        who = {
            PROMOTED_AT: now(),
            "rootstock.promoted_by": _who(),
            "rootstock.replaced": champion.number if champion else "",
        }
        if target.tags.get(ROLLED_BACK):
            who[ROLLED_BACK] = ""
        target.tag({**who, **tags})
        if champion is not None:
            store.client.set_registered_model_alias(CLASSIFIER, PREVIOUS, champion.number)
        store.client.set_registered_model_alias(CLASSIFIER, CHAMPION, target.number)
        no_longer_candidate(target)
    events.emit(
        "rootstock.champion.moved",
        {
            "prefect.resource.id": f"rootstock.model.{CLASSIFIER}",
            "prefect.resource.name": CLASSIFIER,
        },
        {
            "kind": kind,
            "version": target.number,
            "replaced": champion.number if champion else None,
            **tags,
        },
    )


def no_longer_candidate(version: ModelVersion) -> None:
    """Take the alias away from a version that is champion, also where a killed promotion left
    it.
    """
    if versions.aliases(version.store).get(CANDIDATE) == version.number:
        version.store.client.delete_registered_model_alias(CLASSIFIER, CANDIDATE)


def _who() -> str:
    return answer("config", "user.email") or getpass.getuser()


def now() -> str:
    """This moment, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
