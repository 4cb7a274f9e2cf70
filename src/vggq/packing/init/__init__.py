"""Set up a project for the build hook: read it, plan the changes of its files, and write them.

The functions work on texts and paths; only `write_changes` writes files.
"""

from ._changes import Change, render_diff, write_changes
from ._plan import Plan, plan_setup

__all__ = ["Change", "Plan", "plan_setup", "render_diff", "write_changes"]
