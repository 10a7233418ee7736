"""Measurements: one module per subject, run as `python -m benchmarks.NAME [--quick]`.

Each prints a table and, as its last line, one JSON object {claim: {"value", "unit", "bar", "ok"}}.
"""
