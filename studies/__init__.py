"""What runs show: a study at a sweep's end, and the reports' claims in docs/results.md."""
