"""OpenPose: its two body networks in PyTorch, and the way from their maps to people.

Read from OpenPose at 5c5d9652 (C++, CUDA, prototxts) and from pytorch-openpose at 5ee71dc, "the port" here.
"""
