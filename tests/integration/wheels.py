"""Packages for tests: wheels made by hand, and the settings that have pip see these alone."""

import base64
import hashlib
import os
import zipfile


def make_wheel(folder, name, version="1.0", code="", requires=(), files=()):
    """A package of one module, as a wheel without a build. FILES: texts or bytes besides."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    content = {
        f"{name}/__init__.py": code or f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {other}\n" for other in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **dict(files),
    }
    record = ""
    content = {path: data if isinstance(data, bytes) else data.encode() for path, data in content.items()}
    for path, data in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(data)}\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in content.items():
            archive.writestr(path, data)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return wheel


def settings(folder, **more):
    """An environment in which an installer knows the wheels of FOLDER and nothing else."""
    cleared = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    return {**cleared, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), **more}
