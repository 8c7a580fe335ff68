"""What the kernel reports, under names: events, counts, metrics, reports."""
