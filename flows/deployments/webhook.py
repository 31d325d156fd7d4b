"""``rootstock notify``: a Prefect automation that calls a webhook when something happened that a
person wants to know.

The address comes from ``ROOTSTOCK_WEBHOOK_URL`` (it often holds a token) and is kept in an
encrypted Prefect block.
"""

from __future__ import annotations

import os

from stages.core.errors import ConfigError

VARIABLE = "ROOTSTOCK_WEBHOOK_URL"
NAME = "rootstock"
EVENTS = {
    "rootstock.champion.moved",
    "rootstock.drift",
    "prefect.flow-run.Failed",
    "prefect.flow-run.Crashed",
}
BODY = '{"text": "{{ event.event }} of {{ event.resource.id }}"}'


def notify(private: bool) -> str:
    """Create or replace the automation; returns its name.

    Args:
        private: allow an address inside the own network.

    Raises:
        ConfigError: there is no server, or no address in the environment.
    """
    from prefect.automations import Automation
    from prefect.blocks.webhook import Webhook
    from prefect.events.actions import CallWebhook
    from prefect.events.schemas.automations import EventTrigger, Posture
    from pydantic import SecretStr

    from flows.adapters.prefect.server import need_server

    need_server()
    address = os.environ.get(VARIABLE)
    if not address:
        raise ConfigError(
            f"{VARIABLE} is not set: put the address to call there, not on the command line"
        )
    block = Webhook(method="POST", url=SecretStr(address), allow_private_urls=private)
    identity = block.save(NAME, overwrite=True)
    automation = Automation(
        name=NAME,
        description="Promotions, rollbacks, drift and failed runs",
        trigger=EventTrigger(expect=EVENTS, posture=Posture.Reactive, threshold=1),
        actions=[CallWebhook(block_document_id=identity, payload=BODY)],
    )
    _forget()
    created = automation.create()
    return str(created.name)  # type: ignore[union-attr]


def _forget() -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for known in client.request("POST", "/automations/filter", json={}).json():
            if known["name"] == NAME:
                client.request("DELETE", "/automations/{id}", path_params={"id": known["id"]})
