"""Folders: all files are restored, and those of a known format give tensors."""

from .source import folder_format, list_folder_requirements

__all__ = ["folder_format", "list_folder_requirements"]
