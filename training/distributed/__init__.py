"""The processes of one training: what they tell each other, share, and notice of each other."""
