"""Tools for maintainers. Not installed."""
