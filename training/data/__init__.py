"""From stored images to batches of clips."""
