"""Where images come from: simulator, folder or video, as plain Python."""

from gsc_ros.sources.source import CameraFrame, Source

SOURCES = ('sim', 'images', 'video')

__all__ = ['SOURCES', 'CameraFrame', 'Source']
