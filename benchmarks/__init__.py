"""Run by hand or nightly, never as timed tests: `python -m benchmarks`."""
