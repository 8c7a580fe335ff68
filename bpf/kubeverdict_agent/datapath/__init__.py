"""The eBPF programs (C), their maps, and the system calls that load and fill them."""
