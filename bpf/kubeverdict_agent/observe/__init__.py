"""What the kernel reports, with names instead of numbers: events, counts, metrics, reports."""
