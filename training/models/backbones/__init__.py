"""Backbones, one file per family. Every module here is found by itself, and registers what it has."""

from kinebert.preprocessing.discovery import modules_of

modules_of(__name__)
