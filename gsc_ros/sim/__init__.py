"""A small simulated world with true depth and classes: a street, and a rover's terrain."""
