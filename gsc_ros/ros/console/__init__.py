"""What the console's node is made of: parameters, images, goals, recordings."""
