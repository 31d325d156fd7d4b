"""Surroundings of a process: what a shell, a container or a cluster hands over, made fit for this
process and its children.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
from collections.abc import MutableMapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from stages.core.launcher import forget_launcher

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ADDRESSES = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
HOME = Path(".rootstock/home")

Environment = MutableMapping[str, str]


def settle(root: Path, environment: Environment | None = None) -> None:
    """Make the environment fit for this process and every child: text, user, proxies, no launcher's
    left-overs.
    """
    environment = os.environ if environment is None else environment
    environment["PYTHONUTF8"] = "1"
    environment["PYTHONIOENCODING"] = "utf-8:replace"  # whoever reads a child's lines reads UTF-8
    name_user(environment)
    give_home(root, environment)
    bypass_proxies(environment)
    forget_launcher(environment)


def bypass_proxies(environment: Environment | None = None) -> None:
    """Complete ``NO_PROXY`` and ``no_proxy``, so that no program sends calls to loopback through a
    proxy.

    Libraries read one spelling or the other, so both get what either says. Addresses in brackets or
    with a prefix length, which httpx refuses for IPv6, are written plainly. A SOCKS proxy is left
    out where nothing installed can use it: httpx fails on its mere name.
    """
    environment = os.environ if environment is None else environment
    given = [
        entry.strip()
        for name in ("no_proxy", "NO_PROXY")
        for entry in environment.get(name, "").split(",")
    ]
    hosts = [*map(_plain, filter(None, given)), *LOOPBACK, *_own_hosts(environment)]
    value = "*" if "*" in hosts else ",".join(dict.fromkeys(hosts))
    environment["no_proxy"] = environment["NO_PROXY"] = value
    if find_spec("socksio") is None:
        for name in [
            name for name in environment if name.lower() in PROXIES and _is_socks(environment[name])
        ]:
            del environment[name]


def _plain(entry: str) -> str:
    """An IPv6 address as httpx and urllib read it; anything else as it is."""
    bare = entry.replace("[", "").replace("]", "").partition("/")[0]
    try:
        return bare if ipaddress.ip_address(bare).version == 6 else entry
    except ValueError:
        return entry


def _own_hosts(environment: Environment) -> list[str]:
    """Other spellings of this machine in the addresses of the servers, such as 127.0.1.1 or
    0.0.0.0.
    """
    found = []
    for name in ADDRESSES:
        try:
            host = urlsplit(environment.get(name, "")).hostname or ""
            address = ipaddress.ip_address(host)
        except ValueError:
            continue
        if address.is_loopback or address.is_unspecified:
            found.append(host)
    return found


def _is_socks(address: str) -> bool:
    return address.lower().startswith("socks")


def name_user(environment: Environment | None = None) -> None:
    """Name a user whom the password database does not know: ``getpass``, MLflow and torch ask it
    and fail.

    A container may run under any number.
    """
    environment = os.environ if environment is None else environment
    if not has_account():
        for name in ("LOGNAME", "USER"):
            environment[name] = environment.get(name) or f"uid{os.getuid()}"


def give_home(root: Path, environment: Environment | None = None) -> None:
    """Give a user without an account and without a home that can be written one inside the
    project.
    """
    environment = os.environ if environment is None else environment
    if not has_account() and not os.access(
        environment.get("HOME") or "/nonexistent", os.W_OK | os.X_OK
    ):
        home = root / HOME
        home.mkdir(parents=True, exist_ok=True)
        environment["HOME"] = str(home)


def has_account() -> bool:
    """Whether the password database knows the user of this process."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True
