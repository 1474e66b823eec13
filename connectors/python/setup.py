"""`pip install connectors/python`, from the tree: the extension is compiled from the same sources as meson's."""

import re
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def shared_sources():
    """What the extension needs of the libraries."""
    (emitter,) = re.findall(r"worker_emitter = files\((.*?)\)", (ROOT / "connectors/worker/meson.build").read_text())
    shared = [f"connectors/worker/{name}" for name in re.findall(r"'(.*?)'", emitter)]
    shared += [f"lib/basics/{name}.c" for name in "base64 buffer calendar cleanup error text".split()]
    shared += [f"lib/formats/{name}.c" for name in "frame json-text kind value".split()]
    return [str(ROOT / name) for name in [*shared, "lib/system/channel.c"]]


def yyjson():
    """Where its header lies: the system's, or what the build fetches."""
    if Path("/usr/include/yyjson.h").exists():
        return []
    subprocess.run([ROOT / "subprojects/fetch", "yyjson"], check=True)
    return [str(ROOT / "subprojects/yyjson")]


class Build(build_ext):
    def build_extension(self, extension):
        made = Path(self.build_temp).resolve() / "generated"
        made.mkdir(parents=True, exist_ok=True)
        script = ROOT / "connectors/worker/make-unicode.py"
        subprocess.run([sys.executable, script, made / "naming-unicode.h"], check=True)
        extension.sources += shared_sources()  # absolute: else their objects would land beside them
        extension.include_dirs += [str(made), *yyjson()]
        super().build_extension(extension)


setup(
    cmdclass={"build_ext": Build},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
    ext_modules=[
        Extension(
            "fivetran_connector_sdk._wherry",
            sorted(f"extension/{file.name}" for file in (HERE / "extension").glob("*.c")),
            include_dirs=[str(ROOT)],
            define_macros=[("_GNU_SOURCE", None)],
            extra_compile_args=[
                "-std=gnu11",
                "-O2",
                "-fvisibility=hidden",
                "-fno-plt",
                "-Wno-missing-field-initializers",
            ],
            libraries=["m"],
            py_limited_api=True,
        )
    ],
)
