"""What the robot's own networks see in an image: classes, depth, objects."""
