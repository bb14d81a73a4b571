"""
The messages of vision_msgs 4.1.1 that we use, field by field, as strict as rosidl makes them: a
field that there is not, or a value of another type, is an error.
"""

from types import ModuleType

from geometry_msgs.msg import PoseWithCovariance
from std_msgs.msg import Header

# In the order of the .msg files.
FIELDS = {
    'Point2D': {'x': float, 'y': float},
    'Pose2D': {'position': 'Point2D', 'theta': float},
    'BoundingBox2D': {'center': 'Pose2D', 'size_x': float, 'size_y': float},
    'ObjectHypothesis': {'class_id': str, 'score': float},
    'ObjectHypothesisWithPose': {'hypothesis': 'ObjectHypothesis', 'pose': PoseWithCovariance},
    'Detection2D': {'header': Header, 'results': list, 'bbox': 'BoundingBox2D', 'id': str},
    'Detection2DArray': {'header': Header, 'detections': list},
    'VisionClass': {'class_id': int, 'class_name': str},
    'LabelInfo': {'header': Header, 'class_map': list, 'threshold': float},
}


class _Strict:
    fields: dict[str, type]

    def __init__(self, **given):
        for name in given:
            assert name in self.fields, f'{type(self).__name__} has no field {name}'
        for name, kind in self.fields.items():
            setattr(self, name, given.get(name, kind()))

    def __setattr__(self, name, value):
        assert name in self.fields, f'{type(self).__name__} has no field {name}'
        kind = self.fields[name]
        assert isinstance(value, kind), f'{name} is {kind.__name__}, got {value!r}'
        super().__setattr__(name, value)


def module() -> ModuleType:
    """Return a module as vision_msgs.msg."""
    made = ModuleType('vision_msgs.msg')
    for name, fields in FIELDS.items():
        kinds = {one: getattr(made, k) if isinstance(k, str) else k for one, k in fields.items()}
        setattr(made, name, type(name, (_Strict,), {'fields': kinds}))
    return made
