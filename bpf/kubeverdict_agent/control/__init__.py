"""The desired state put in force, and the commands that ask about it."""
