"""Images, camera_info and depth as ROS messages, and what is wrong with them."""
