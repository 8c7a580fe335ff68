"""From the compiled policy to the tables of one node; pure."""
