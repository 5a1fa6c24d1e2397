"""A run on disk: configuration, pipeline, results, report and command line.

May import every room.
"""
