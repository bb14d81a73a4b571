"""A run on record: pictures side by side, figures against the truth, a summary."""
