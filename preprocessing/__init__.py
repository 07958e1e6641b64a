"""One video in, rows out: decoding, optical flow and Parquet shards. Knows no torch, no Ray and no MLflow."""
