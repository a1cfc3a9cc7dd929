"""The compiled parts; everything else about the package is in pyproject.toml."""

from setuptools import setup

setup(cffi_modules=["workloads/memtouch/build.py:ffi", "workloads/build_libc.py:ffi"])
