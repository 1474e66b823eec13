#!/usr/bin/env python3
"""Writes a C header with the text of each given .varlink file: org.foo.Bar.varlink becomes interface_org_foo_bar."""

import json
import pathlib
import sys

output, *inputs = sys.argv[1:]
lines = ["#pragma once"]
for path in map(pathlib.Path, inputs):
    name = path.name.removesuffix(".varlink").replace(".", "_").lower()
    text = path.read_text(encoding="ascii")
    quoted = "\n".join("    " + json.dumps(line) for line in text.splitlines(keepends=True))
    lines.append(f"static const char interface_{name}[] =\n{quoted};")
pathlib.Path(output).write_text("\n".join(lines) + "\n", encoding="ascii")
