"""The interactive page of a run: `report.html`.

A part of `probcat.run`; imports what that room may.
"""
