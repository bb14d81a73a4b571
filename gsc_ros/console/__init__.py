"""
The operator's console: what it decides, pure, and a web page around it. No ROS here.

`gsc_ros/nodes/console.py` joins it to topics. The modules take times as arguments; only
`server.py` opens sockets, and only it imports the web libraries (extra ``console``).
"""
