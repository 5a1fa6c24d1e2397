"""Programs that measure something, run as ``python -m benchmarks.programs.NAME``."""
