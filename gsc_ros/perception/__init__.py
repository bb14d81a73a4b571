"""What the robot's own networks see in a picture: classes, depth, objects."""
