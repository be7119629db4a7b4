"""What people look at: progress, records of metrics, the page of a run."""
