"""A page that shows a run: images, who owns their light, objects, chains and settings."""

from probcat.report.page import REPORT, render_page, write_report

__all__ = ["REPORT", "render_page", "write_report"]
