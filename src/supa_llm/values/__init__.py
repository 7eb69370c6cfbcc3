"""What comes back from the database and from requests: immutable values, one noun a file."""
