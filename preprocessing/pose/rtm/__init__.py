"""Networks of OpenMMLab's RTM family as ONNX files: RTMPose, RTMO, and the detectors that find boxes for RTMPose.

Sources: Jiang et al., "RTMPose: real-time multi-person pose estimation based on MMPose", 2023; Lu et al., "RTMO:
towards high-performance one-stage real-time multi-person pose estimation", CVPR 2024. What files take and give is as
MMDeploy exports them and rtmlib reads them.
"""
