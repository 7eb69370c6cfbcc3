"""What apps call: the class for threads and its asyncio twin side by side, one noun a file."""
