"""Where the robot is and how it is: what the robot's end takes, and what the ground publishes."""
