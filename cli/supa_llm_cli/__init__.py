"""The command `supa-llm`: one file a noun."""
