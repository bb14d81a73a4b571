"""ROS nodes, one file each: messages in and out, no maths."""
