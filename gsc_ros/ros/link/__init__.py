"""The two sides of a link as parts of nodes."""
