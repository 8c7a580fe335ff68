"""What both commands, of the engine and of the agent, have in common: how they parse and end."""
