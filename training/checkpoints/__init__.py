"""What a training keeps on disk: recognizers, states to go on from, and who writes them."""
