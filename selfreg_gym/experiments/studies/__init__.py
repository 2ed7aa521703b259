"""The experiments, one per file: its id is the file name with hyphens."""
