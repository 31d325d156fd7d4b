"""``validate.audits``: a list of audits with settings, checked before anything runs."""

from __future__ import annotations

from typing import Literal

from stages.core import plugin_lists
from stages.core.plugin_lists import Named
from stages.core.sections import Section, Validate

AUDITS = "stages.validate.audits"
KEY = "validate.audits"
Severity = Literal["critical", "warning", "info"]


class AuditSettings(Section):
    """Settings that every audit has: the severity of its findings."""

    severity: Severity


def parse_audits(validate: Validate) -> list[Named]:
    """Every audit (a module with ``audit``) with its settings; refusals as in
    :func:`plugin_lists.parse`.
    """
    return plugin_lists.parse(validate.audits, AUDITS, KEY)


def check_audits(validate: Validate) -> None:
    """Refuse what :func:`parse_audits` would, loading only audits that were given settings."""
    plugin_lists.check(validate.audits, AUDITS, KEY)
