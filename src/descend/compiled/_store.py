"""Where generated sources lie: in the user's cache folder, named by content, so that compiled code is found again."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

from descend.files import write_atomically

_writing: Final = threading.Lock()  # a temporary file is called after the process, and threads come here together


def module_of(name: str, source: str) -> ModuleType:
    """The module that `source` is, imported from a file of its own: numba keeps compiled code beside the file."""
    file = folder() / f"{name}_{hashlib.sha256(source.encode()).hexdigest()[:16]}.py"
    with _writing:
        if not file.exists():
            write_atomically(file, source.encode(), durable=False)
    spec = importlib.util.spec_from_file_location(f"descend_compiled_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def folder() -> Path:
    """A folder that can be written to and is kept, if there is one."""
    wanted = os.environ.get("XDG_CACHE_HOME")
    kept = (Path(wanted) if wanted else Path.home() / ".cache") / "descend" / "compiled"
    try:
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=kept):
            return kept
    except OSError:
        return Path(tempfile.mkdtemp(prefix="descend-compiled-"))
