"""Bytes of shards, from disks, over networks and from caches of this node: the rows that are asked for, and no more.

Files from the web as well, each known by its digest.
"""
