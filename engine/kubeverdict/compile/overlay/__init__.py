"""Changes of a compiled cluster, without compiling it again."""
