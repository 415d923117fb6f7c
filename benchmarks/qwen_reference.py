"""The reference implementation of Qwen3-TTS-Tokenizer-12Hz, where qwen-tts is installed."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any

__all__ = ["reference_modules"]

_NAME = "qwen_reference"


def reference_modules() -> tuple[Any, Any]:
    """Its modules of configuration and model alone: the package's own import pulls in more
    than is installed.

    Raises:
        ModuleNotFoundError: qwen-tts is not installed.
    """
    found = [Path(entry) / "qwen_tts" for entry in sys.path]
    package = next((path for path in found if path.is_dir()), None)
    if package is None:
        raise ModuleNotFoundError("qwen_tts is missing: pip install qwen-tts")
    module = types.ModuleType(_NAME)
    module.__path__ = [str(package / "core" / "tokenizer_12hz")]
    sys.modules[_NAME] = module
    names = (f"{_NAME}.{part}_qwen3_tts_tokenizer_v2" for part in ("configuration", "modeling"))
    configuration, modeling = (importlib.import_module(name) for name in names)
    return configuration, modeling
