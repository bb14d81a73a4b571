"""
The thin link: budget from physics, compact datagrams, and a seeded channel in explicit time.

`profiles` and `budget` say what a link can carry, `framing` what goes over the air, `payloads`
what is inside, `channel` when and whether it arrives. Nothing here knows ROS, torch or the wall
clock.
"""
