"""Lets programs of a test, and all processes that they start, know the test's pose backend: see MORE_PYTHONPATH."""

from kinebert.preprocessing.pose.estimator import register_pose_backend
from tests.helpers.poses import BRIGHT

register_pose_backend(BRIGHT)
