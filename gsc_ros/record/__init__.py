"""A run on record: images side by side, figures against the truth, a summary."""
