"""Torch modules of the codec; nothing here knows of bytes, files on air, or ROS."""
