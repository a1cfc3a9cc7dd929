"""cffi build of memtouch: `ffi` for setuptools' cffi_modules; run as a program, it builds in place."""

from __future__ import annotations

import os
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "workloads/memtouch"  # relative to the project, as setuptools wants its sources

# One declaration for C and for cffi: the part of the header between the marks.
DECLARATIONS = (ROOT / FOLDER / "memtouch.h").read_text().split("/* cffi: begin */")[1].split("/* cffi: end */")[0]

ffi = FFI()
ffi.cdef(DECLARATIONS)
ffi.set_source(
    "workloads.memtouch._memtouch",
    '#include "memtouch.h"',
    sources=[f"{FOLDER}/{name}.c" for name in ("memtouch", "histogram", "release", "throughput", "reader", "probe")],
    depends=[f"{FOLDER}/memtouch.h", f"{FOLDER}/task.h"],
    include_dirs=[FOLDER],
    extra_compile_args=["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"],
    py_limited_api=True,
)

if __name__ == "__main__":
    os.chdir(ROOT)
    ffi.compile(verbose=True)
