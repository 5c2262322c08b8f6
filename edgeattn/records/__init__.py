"""What is written as JSON beside an artifact, and read again."""
