"""All settings in one typed model: a file, the environment over it, flags over both."""

from serving.settings.load import Loaded, load
from serving.settings.model import Settings

__all__ = ["Loaded", "Settings", "load"]
