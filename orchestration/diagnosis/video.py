"""What decodes and encodes videos, and what computes their flow on cores."""

import io
from collections.abc import Iterator

from kinebert.orchestration.diagnosis.findings import Finding, note, ok, wrong

DECODERS = {
    "h264": ("h264",),
    "hevc": ("hevc",),
    "vp9": ("vp9", "libvpx-vp9"),
    "av1": ("libdav1d", "libaom-av1", "libgav1"),
    "mpeg4": ("mpeg4",),
}
"""Kinds of video, each with the names of decoders that do without a GPU."""
_REINSTALL_AV = "Install PyAV's own build, which brings FFmpeg along: pip install --force-reinstall av."
_REINSTALL_CV = (
    "Several packages of OpenCV overwrite each other. Remove them all, then: pip install --force-reinstall "
    "opencv-contrib-python-headless."
)


def look() -> Iterator[Finding]:
    """Look at PyAV, OpenCV and numba, by using them."""
    import av

    names = set(av.codec.codecs_available)
    yield decoders(names, f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}")
    yield _libx264(names)
    yield _opencv()
    yield _numba()


def decoders(names: set[str], library: str) -> Finding:
    """Judge which kinds of video can be decoded."""
    lacking = [kind for kind, known in DECODERS.items() if not names.intersection(known)]
    if not lacking:
        return ok("decoders", f"{', '.join(DECODERS)} ({library})")
    found = f"lacking: {', '.join(lacking)} ({library})"
    return (wrong if "h264" in lacking else note)("decoders", found, _REINSTALL_AV)


def _libx264(names: set[str]) -> Finding:
    """Encode some frames, and decode them: what H.264 sets, the demo and annotated videos are made with."""
    import av
    import numpy as np

    if "libx264" not in names:
        return note("libx264", "lacking: no H.264 sets, no demo, no annotated videos", _REINSTALL_AV)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 128, np.uint8))))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as decoded:
        count = len(list(decoded.decode(video=0)))
    return ok("libx264", "encodes") if count == 3 else wrong("libx264", f"of 3 frames {count} came back", _REINSTALL_AV)


def _opencv() -> Finding:
    import cv2

    if hasattr(cv2, "optflow") and hasattr(cv2.optflow, "DualTVL1OpticalFlow_create"):
        return ok("OpenCV", f"{cv2.__version__}, with optflow")
    return wrong("OpenCV", f"{cv2.__version__}, without optflow", _REINSTALL_CV)


def _numba() -> Finding:
    """Compile something, which fails where numba and its compiler, or numba and numpy, do not fit each other."""
    import numba

    @numba.njit
    def plus_one(x):  # type: ignore[no-untyped-def]
        return x + 1

    if plus_one(1) != 2:
        return wrong("numba", f"{numba.__version__} computes wrongly", "Install the version of constraints.txt.")
    return ok("numba", f"{numba.__version__}, compiles")
