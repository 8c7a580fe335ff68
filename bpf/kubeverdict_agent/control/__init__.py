"""The state that is wanted, brought into force; and the commands that ask about it."""
