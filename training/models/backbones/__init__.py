"""Backbones, one file per family, in rooms by what they see at once. Every module here is found by itself."""

from kinebert.preprocessing.discovery import modules_of

modules_of(__name__)
