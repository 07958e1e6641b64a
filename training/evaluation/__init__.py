"""From a trained recognizer to scores, and from scores to what they mean."""
