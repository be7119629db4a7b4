"""From files to batches of plain volumes, in numpy alone."""
