"""From a video file to frames and facts, and images to bytes and back."""
