"""Helpers of the programs: options, timed runs, rank statistics, and files of results."""
