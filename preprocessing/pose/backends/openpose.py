"""OpenPose: its networks BODY_25 and COCO-18, with a user's file of weights, on CPUs and GPUs."""

from collections.abc import Mapping

from kinebert.preprocessing.pose.estimator import Means, PoseBackend, PoseEstimator, WeightsFile, register_pose_backend
from kinebert.preprocessing.pose.openpose.settings import OpenPoseParams


def start(params: OpenPoseParams, files: Mapping[str, str], means: Means) -> PoseEstimator:
    """Return what finds people with these weights.

    Raises:
        UserError: If the file holds none of OpenPose's, or the machine cannot do what is asked.
    """
    from kinebert.preprocessing.pose.openpose.estimator import OpenPose  # torch takes seconds to import

    return OpenPose(params, files, means)


register_pose_backend(
    PoseBackend(
        name="openpose",
        about="OpenPose's body networks of 25 or 18 joints, with your file of weights",
        licence="CMU's licence of OpenPose: for non-commercial research only",
        obtain="OpenPose's own program models/getModels.sh fetches them, if you may use them",
        files=(
            WeightsFile(
                role="network",
                about="pose_iter_584000 (BODY_25) or pose_iter_440000 (COCO) of OpenPose, as .caffemodel, .pth or .pt",
            ),
        ),
        params=OpenPoseParams,
        start=start,
        uses_gpu=True,
    )
)
