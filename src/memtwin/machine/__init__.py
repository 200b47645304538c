"""The machine: its description, and how the rooms below are wired into one."""
