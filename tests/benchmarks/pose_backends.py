"""How fast people are found and drawn: frames per second of each backend, and where the time goes.

python -m tests.benchmarks.pose_backends [VIDEO] [--frames N] [--threads N] [--gpu] [--height N --width N]

Pictures are of a video, or grey ones of the size that is given. Backends whose files lie on this machine
(`kinebert pose-weights`) are run as an extraction runs them; the others are named. OpenPose's networks are run with
random weights, as their speed does not depend on them, and its decoders with maps of made-up people at the size of an
input of 368x656. Milliseconds are medians.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.pose.drawing import draw
from kinebert.preprocessing.pose.estimator import Means, all_backends
from kinebert.preprocessing.pose.openpose.assembly import decode
from kinebert.preprocessing.pose.openpose.device import Device
from kinebert.preprocessing.pose.openpose.maps import Maps, Scale
from kinebert.preprocessing.pose.openpose.models import MODELS, STRIDE
from kinebert.preprocessing.pose.openpose.network import NETWORKS
from kinebert.preprocessing.pose.openpose.pictures import placed, placements
from kinebert.preprocessing.pose.openpose.port import decode_port
from kinebert.preprocessing.pose.openpose.settings import OpenPoseParams
from kinebert.preprocessing.pose.skeleton import People
from kinebert.preprocessing.pose.weights import find_weights
from tests.helpers import pose_golden

TILES = {1: ("one", 1), 2: ("two_apart", 1), 12: ("crowd", 4)}
"""People, the case that shows so many or a part of them, and how often it is put side by side."""
INPUT = (368, 656)


def median_ms(work: Callable[[], object], times: int) -> float:
    """Return the median time of a call, after one that does not count."""
    work()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return 1000 * statistics.median(taken)


def pictures(args: argparse.Namespace) -> list[np.ndarray]:
    """Return the pictures that backends look at."""
    if not args.video:
        return [np.full((args.height, args.width, 3), 128, np.uint8)] * args.frames
    capture = cv2.VideoCapture(args.video)
    found: list[np.ndarray] = []
    while len(found) < args.frames and (read := capture.read())[0]:
        found.append(np.asarray(read[1], np.uint8))
    if not found:
        raise UserError(f"{args.video}: no frame can be read. Give a video.")
    return found


def stages(frames: Sequence[np.ndarray], means: Means) -> None:
    """Print what each backend with files here takes, and how many frames a second."""
    print(f"\n{len(frames)} frames of {frames[0].shape[1]}x{frames[0].shape[0]}")
    print(f"{'backend':<12}{'find, ms':>10}{'draw cpu':>10}{'draw gpu':>10}{'people':>8}{'frames/s':>10}")
    for backend in all_backends():
        paths = {file.role: find_weights(file.sha256) for file in backend.files if file.sha256}
        if not paths or None in paths.values():
            print(f"{backend.name:<12}no files: {', '.join(file.about for file in backend.files)}")
            continue
        estimator = backend.start(backend.params(), {role: str(path) for role, path in paths.items()}, means)
        estimator([frames[0]])
        estimator.begin()
        at_once = estimator.pictures_at_once(*frames[0].shape[:2])
        start, people = time.perf_counter(), list[People]()
        for first in range(0, len(frames), at_once):
            people += estimator(frames[first : first + at_once])
        find = 1000 * (time.perf_counter() - start) / len(frames)
        drawn = drawing_ms(people, frames[0].shape)
        count = statistics.mean(map(len, people))
        rate = 1000 / (find + drawn[1])
        print(f"{backend.name:<12}{find:10.1f}{drawn[0]:10.2f}{drawn[1]:10.2f}{count:8.1f}{rate:10.1f}")


def drawing_ms(people: Sequence[People], shape: tuple[int, ...]) -> list[float]:
    """Return the milliseconds of a picture in either look, the mean over the frames."""
    found = []
    for look in ("cpu", "gpu"):
        start = time.perf_counter()
        for people_PJ3 in people:
            draw(people_PJ3, shape[0], shape[1], look=look)  # type: ignore[arg-type]
        found.append(1000 * (time.perf_counter() - start) / len(people))
    return found


def networks(frames: Sequence[np.ndarray], args: argparse.Namespace) -> None:
    """Print what OpenPose's networks take for a frame, at the inputs of both decoders."""
    print(f"\n{'network':<10}{'input':>10}{'precision':>11}{'at once':>9}{'place, ms':>11}{'network, ms':>13}")
    for name, network in NETWORKS.items():
        for precision in ("float32", "float16") if args.gpu else ("float32",):
            made = Device(
                network().eval().requires_grad_(False),
                on_gpu=args.gpu,
                precision=precision,  # type: ignore[arg-type]
                num_threads=args.threads,
            )
            for params in (OpenPoseParams(), OpenPoseParams(net_height=176)):
                height, width = frames[0].shape[:2]
                (at,) = placements(height, width, params)
                number = made.pictures_at_once(at.height, at.width)
                inputs = [placed(frames[0], at, params)] * number
                place = median_ms(functools.partial(placed, frames[0], at, params), 9)
                with made.at_work():
                    run = median_ms(functools.partial(answers, made, inputs), 3) / number
                size = f"{at.width}x{at.height}"
                print(f"{name:<10}{size:>10}{precision:>11}{number:9}{place:11.2f}{run:13.1f}")


def answers(device: Device, inputs: Sequence[np.ndarray]) -> list[torch.Tensor]:
    """Run a network, and wait for what it says."""
    return [maps.cpu() for maps in device.maps(inputs)]


def maps_of(people: int) -> tuple[np.ndarray, np.ndarray]:
    """Return heat maps and fields of COCO-18 for an input of 368x656 that shows so many people."""
    tag, tiles = TILES[people]
    arrays = pose_golden.case("decode_cmu_coco18", tag)
    found = []
    for key in ("heat", "paf"):
        whole_Chw = np.zeros((len(arrays[key]), INPUT[0] // STRIDE, INPUT[1] // STRIDE), np.float32)
        for tile in range(tiles):
            y, x = divmod(tile, 2)
            h, w = arrays[key].shape[1:]
            whole_Chw[:, y * h : (y + 1) * h, x * w : (x + 1) * w] = arrays[key]
        found.append(whole_Chw)
    return found[0], found[1]


def people_of(heat_Jhw: np.ndarray, field_Chw: np.ndarray, by_opencv: bool) -> np.ndarray:
    """Return what OpenPose's decoder finds in maps of COCO-18."""
    maps = Maps(*INPUT, [Scale.of(heat_Jhw, field_Chw, MODELS["coco18"], size=INPUT)], by_opencv)
    return decode(maps, MODELS["coco18"], OpenPoseParams().thresholds)[0]


def decoders() -> None:
    """Print what decoders and drawing take for a frame with so many people."""
    print(f"\n{'people':>6}{'decode, ms':>12}{'cuda maps':>11}{'port':>8}{'draw cpu':>10}{'draw gpu':>10}")
    model = MODELS["coco18"]
    for number in TILES:
        heat_Jhw, field_Chw = maps_of(number)
        people_PJ3 = model.to_body_25(people_of(heat_Jhw, field_Chw, True))
        assert len(people_PJ3) == number
        ours, dense = (
            median_ms(functools.partial(people_of, heat_Jhw, field_Chw, by_opencv), 9) for by_opencv in (True, False)
        )
        port = median_ms(functools.partial(decode_port, heat_Jhw, field_Chw, INPUT, INPUT), 3)
        looks = drawing_ms([people_PJ3] * 10, (*INPUT, 3))
        print(f"{number:6}{ours:12.1f}{dense:11.1f}{port:8.0f}{looks[0]:10.2f}{looks[1]:10.2f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--no-networks", action="store_true", help="leave out those of OpenPose")
    args = parser.parse_args()
    cv2.setNumThreads(args.threads)
    torch.set_num_threads(args.threads)
    frames = pictures(args)
    stages(frames, Means(num_threads=args.threads, on_gpu=args.gpu))
    decoders()
    if not args.no_networks:
        networks(frames, args)


if __name__ == "__main__":
    main()
