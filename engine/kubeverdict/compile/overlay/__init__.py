"""What changes beside a compiled cluster, without compiling it anew."""
