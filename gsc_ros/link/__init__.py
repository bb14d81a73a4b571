"""
The thin link: budget from physics, compact datagrams, and a seeded channel in explicit time.

`radio` computes what a link can carry, `datagrams` defines what goes over the air, `traffic`
decides when it goes and handles what arrives. Nothing here imports ROS or torch, or reads the wall
clock.
"""
