"""The node's side: links, their pods, and what this machine offers."""
