"""One task of an extraction: videos in, one shard out."""
