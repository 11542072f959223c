"""A real engine as a child process: started, watched, and surely gone afterwards."""

from serving.engine.config import EngineConfig, free_port
from serving.engine.layout import Layout
from serving.engine.process import EngineProcess, Progress

__all__ = ["EngineConfig", "EngineProcess", "Layout", "Progress", "free_port"]
