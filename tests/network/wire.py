"""A long line between two network namespaces: what goes in at one end comes
out at the other some time later, or never.

wire.py NAMESPACE DEVICE NAMESPACE DEVICE DELAY_MS LOSS

Makes a TAP device in each namespace and says "ready". Each frame waits
DELAY_MS; LOSS of them, from 0 to 1, are thrown away. The line queues at most
QUEUE frames in a direction and drops what comes on top, as routers do. It goes
when the process ends, and the devices with it.
"""

import collections
import ctypes
import fcntl
import os
import random
import select
import struct
import sys
import threading
import time

QUEUE = 20_000
FRAME_MAX = 65_536
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
CLONE_NEWNET = 0x40000000


def enter(namespace):
    """Moves this thread into a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}", "rb") as handle:
        if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")


def tap(namespace, device):
    """A TAP device in a namespace. It stays there when we leave."""
    enter(namespace)
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TAP | IFF_NO_PI))
    return handle


def read_all(source, waiting, delay, loss):
    """Takes what the kernel has for us now; notes when each frame is due."""
    due = time.monotonic() + delay
    while True:
        try:
            frame = os.read(source, FRAME_MAX)
        except BlockingIOError:
            return
        if len(waiting) < QUEUE and (loss == 0 or random.random() >= loss):
            waiting.append((due, frame))


def write_due(sink, waiting):
    """Lets out what is due; how long the next one has to wait, None if none does."""
    while waiting:
        left = waiting[0][0] - time.monotonic()
        if left > 0:
            return left
        try:
            os.write(sink, waiting.popleft()[1])
        except OSError:
            pass  # the device is down for a moment: the frame is lost
    return None


def carry(source, sink, delay, loss):
    """One direction, for ever."""
    waiting = collections.deque()
    pause = None
    while True:
        readable, _, _ = select.select([source], [], [], pause)
        if readable:
            try:
                read_all(source, waiting, delay, loss)
            except OSError:
                time.sleep(0.001)  # a device that is down cannot be read
        pause = write_due(sink, waiting)


def main():
    namespace_a, device_a, namespace_b, device_b, delay_ms, loss = sys.argv[1:]
    end_a, end_b = tap(namespace_a, device_a), tap(namespace_b, device_b)
    delay, loss = float(delay_ms) / 1000, float(loss)
    print("ready", flush=True)
    threading.Thread(target=carry, args=(end_b, end_a, delay, loss), daemon=True).start()
    carry(end_a, end_b, delay, loss)


main()
