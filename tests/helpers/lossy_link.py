"""A cable between two network namespaces that is long and loses packets, for kernels without netem.

``python lossy_link.py FILE PID_A PID_B DEVICE`` opens the device (a tun that is there) in the network namespaces of two
processes and carries packets between them, late by the milliseconds and but for the share that FILE says: ``50 0.01``.
"""

import ctypes
import fcntl
import os
import random
import select
import struct
import sys
import time
from collections import deque

_CLONE_NEWNET, _TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x40000000, 0x400454CA, 0x0001, 0x1000
_LARGEST = 1 << 16


def opened(pid: int, device: str) -> int:
    """Open a device of the network namespace of a process; this one is in that namespace afterwards."""
    with open(f"/proc/{pid}/ns/net") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TUN | _IFF_NO_PI))
    return descriptor


def said(file: str) -> tuple[float, float]:
    """Seconds by which packets are late, and the share that is lost."""
    with open(file) as text:
        late_ms, lost = map(float, text.read().split())
    return late_ms / 1000, lost


def carry(ends: tuple[int, int], file: str) -> None:
    """Carry packets for ever."""
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    on_the_way: deque[tuple[float, int, bytes]] = deque()
    late_s, lost, looked, draw = *said(file), time.monotonic(), random.Random(0)
    while True:
        now = time.monotonic()
        if now - looked > 0.5:
            late_s, lost, looked = *said(file), now
        while on_the_way and on_the_way[0][0] <= now:
            _, to, packet = on_the_way.popleft()
            try:
                os.write(to, packet)
            except OSError:  # its queue is full, or it is down: packets get lost
                continue
        wait_s = max(0.0, on_the_way[0][0] - now) if on_the_way else 0.5
        for end in select.select(ends, [], [], wait_s)[0]:
            for _ in range(64):
                try:
                    packet = os.read(end, _LARGEST)
                except OSError:
                    break
                if draw.random() >= lost:
                    on_the_way.append((time.monotonic() + late_s, other[end], packet))


if __name__ == "__main__":
    carry((opened(int(sys.argv[2]), sys.argv[4]), opened(int(sys.argv[3]), sys.argv[4])), sys.argv[1])
