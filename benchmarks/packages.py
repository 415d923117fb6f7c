"""Import of the heavy packages of the extra `bench`, where they are used."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from linkcodec.exceptions import InputError


def need(module: str, *, package: str | None = None) -> Any:
    """The imported module.

    Raises:
        InputError: it is not installed; the text says how to mend it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        name = package or module
        raise InputError(
            f"package '{name}' is missing: install the extra 'bench' as docs/quality.md says"
        ) from None


def package_version(package: str) -> str:
    """Version of an installed package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
