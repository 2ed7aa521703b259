"""Small tools without knowledge of the problem: arguments, files, JSON, printable text, random streams, caches."""
