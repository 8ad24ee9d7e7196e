"""Virtual environments in the cache folder, for what retune is compared with and tested against."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retune"


def python_with(name, requirements, say):
    """The Python of the environment NAME; what is installed is renewed only when its requirements have changed."""
    folder = CACHE / name
    python, installed = folder / "bin" / "python", folder / "installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not installed.exists() or installed.read_text().strip() != wanted:
        say(f"installing what {requirements.name} lists into {folder}")
        if not python.exists():
            venv.create(folder, with_pip=True)
        pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--requirement", requirements]
        if subprocess.run(pip, env=without_our_libraries(), check=False).returncode != 0:
            sys.exit(f"error: {requirements} could not be installed (pip's message is above)")
        installed.write_text(wanted + "\n")
    return python


def without_our_libraries():
    """The environment for programs that bring libraries of their own."""
    return {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
