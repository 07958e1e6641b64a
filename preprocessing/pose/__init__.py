"""Poses: people found in pictures, their joints, and pictures drawn of them.

Networks are run by backends, one file each; whatever found the people, they end in one form, which one routine draws.
"""
