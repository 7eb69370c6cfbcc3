"""The `supa-llm` command. Each noun has one file."""
