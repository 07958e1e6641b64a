"""Stores of objects (S3, Google's, Azure's): their addresses, how long they are waited for, and what they say."""
