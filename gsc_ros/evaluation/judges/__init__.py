"""Judges that ship with the package, by name: ``gsc evaluate --judge transformers``."""
