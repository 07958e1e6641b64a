"""What is read back is checked: plain values by types, JSON by dataclasses, Parquet by schemas."""
