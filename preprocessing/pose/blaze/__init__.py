"""BlazePose: a network that finds people, one that finds one person's landmarks, and who is followed between frames.

Source: Bazarevsky et al., "BlazePose: on-device real-time body pose tracking", 2020, and the graphs that MediaPipe
publishes with the two networks.
"""
