"""See through a robot's camera over links of a few hundred bytes a second."""

from pkgutil import extend_path

# The source tree and the generated gsc_ros.msg may live in different folders of the path.
__path__ = extend_path(__path__, __name__)
__version__ = '0.1.0'
