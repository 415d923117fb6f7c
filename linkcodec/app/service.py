"""`linkcodec service`: run a call unattended, under systemd."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from linkcodec.app.command import write_line
from linkcodec.app.config import load_config
from linkcodec.exceptions import InputError

__all__ = ["ROLES", "add_arguments", "service", "unit_text"]

ROLES: Final = ("send", "receive", "talk", "gateway", "echo")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

_UNIT: Final = """\
[Unit]
Description=linkcodec {role}, {name}
After=network.target sound.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=2
WatchdogSec=20
TimeoutStopSec=15
Environment=OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
{scope}
Nice=-5
StateDirectory=linkcodec
WorkingDirectory=%S/linkcodec
{hardening}
[Install]
WantedBy={wanted}
"""

_HARDENING: Final = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
CapabilityBoundingSet=
UMask=0077
"""


def unit_text(*, name: str, role: str, command: list[str], user: bool) -> str:
    """A unit file; with `user` for a person's own manager, which lacks some of the rest."""
    scope = "# runs as the person whose manager it is"
    if not user:
        scope = (
            "Environment=XDG_STATE_HOME=%S/linkcodec\n"
            "DynamicUser=yes\nSupplementaryGroups=audio dialout"
        )
    text = _UNIT.format(
        name=name,
        role=role,
        command=" ".join(map(_quoted, command)),
        scope=scope,
        hardening="NoNewPrivileges=yes\nUMask=0077\n" if user else _HARDENING,
        wanted="default.target" if user else "multi-user.target",
    )
    # A person's manager may not raise priorities.
    return text.replace("Nice=-5\n", "") if user else text


def _quoted(word: str) -> str:
    """A word of ExecStart (systemd.service(5)): no expansion, no splitting."""
    word = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if re.search(r"[\s\"';]", word) else word


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `linkcodec service`."""
    parser.description = (
        "Install a call as a systemd service: started at boot and again after any failure,\n"
        "watched, reloaded with `systemctl reload`, and hardened."
    )
    parser.epilog = (
        "example:\n  linkcodec service install harbour --role talk --config /etc/linkcodec/"
        "harbour.toml \\\n      --flags='--metrics 9100 --input-device USB --output-device USB'"
    )
    parser.add_argument("action", choices=("install", "remove", "show"), help="what to do")
    parser.add_argument("name", metavar="NAME", help="of the service: linkcodec-NAME.service")
    parser.add_argument("--config", metavar="FILE", help="configuration file of the call")
    parser.add_argument(
        "--role", choices=ROLES, default="talk", help="which command it runs (default: talk)"
    )
    parser.add_argument("--user", action="store_true", help="as a service of this person alone")
    parser.add_argument(
        "--flags", metavar="TEXT", default="", help="further flags of that command, in quotes"
    )


def service(args: argparse.Namespace) -> int:
    """Run `linkcodec service`."""
    if not _NAME.fullmatch(args.name):
        raise InputError(f"'{args.name}' is no name for a service: use letters, digits, . _ and -")
    folder = _folder(user=args.user)
    unit = folder / f"linkcodec-{args.name}.service"
    if args.action == "remove":
        _manage(args, "disable", "--now", unit.name)
        try:
            unit.unlink()
        except OSError as error:
            raise InputError(f"{unit}: cannot be removed: {error.strerror}") from None
        _manage(args, "daemon-reload")
        write_line(f"removed {unit}")
        return 0
    if args.config is None:
        raise InputError("--config is missing: name the configuration file of the call")
    config = Path(args.config).resolve()
    load_config(config)
    try:
        flags = shlex.split(args.flags)
    except ValueError as error:
        raise InputError(f"--flags {args.flags}: {error}: close the quotes in it") from None
    command = [sys.executable, "-m", "linkcodec", args.role, "--config", str(config), *flags]
    text = unit_text(name=args.name, role=args.role, command=command, user=args.user)
    if args.action == "show":
        write_line(text.rstrip("\n"))
        return 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unit.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{unit}: cannot be written: {error.strerror}; run as root, or use --user"
        ) from None
    _manage(args, "daemon-reload")
    started = _manage(args, "enable", "--now", unit.name)
    write_line(f"installed {unit}" + (", started" if started else ""))
    if not started:
        write_line(f"start it with: systemctl{' --user' if args.user else ''} start {unit.name}")
    return 0


def _folder(*, user: bool) -> Path:
    if not user:
        return Path("/etc/systemd/system")
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "systemd" / "user"


def _manage(args: argparse.Namespace, *words: str) -> bool:
    """Ask systemd for something; False if it is not there or refuses."""
    program = shutil.which("systemctl")
    if program is None or not Path("/run/systemd/system").is_dir():
        return False
    command = [program, *(["--user"] if args.user else []), *words]
    return subprocess.run(command, check=False).returncode == 0  # noqa: S603
