"""Backends that find people in pictures, one file each; every module here is found by itself."""
