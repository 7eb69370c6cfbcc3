"""Immutable values that the database and requests return, one noun per file."""
