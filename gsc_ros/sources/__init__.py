"""Where images come from: simulator, folder or film, as plain Python."""

from gsc_ros.sources.source import CameraFrame, Source

SOURCES = ('sim', 'images', 'video')

__all__ = ['SOURCES', 'CameraFrame', 'Source']
