"""The Pythons that this machine has besides the tests' own."""

import shutil
import subprocess
import sys
from pathlib import Path

MINORS = [minor for minor in range(10, 15) if minor != sys.version_info.minor]


def find(minor):
    """The interpreter, on the PATH or where pyenv puts them. It is asked: a shim of that name may lead nowhere."""
    name = f"python3.{minor}"
    installed = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/{name}"))
    for program in [shutil.which(name), *installed]:
        question = [program, "-I", "-c", "import sys; print(sys.version_info[1], sys.executable)"]
        answer = program and subprocess.run(question, capture_output=True, encoding="utf-8").stdout.split()
        if answer and answer[0] == str(minor):
            return answer[1]
    return None
