"""What a team's programs do all day, through boto3: write, read, compare.

load.py run BUCKET LEDGER THREADS PAUSE_MS SIZE:WEIGHT...   until SIGTERM
load.py burst BUCKET LEDGER COUNT SIZE                      COUNT uploads at once
load.py verify BUCKET LEDGER                                all that was acknowledged

The ledger gets a JSON object a line for every request that was answered or
failed: op, key, size, sha256, at (s since 1970), seconds, error (null: it was
acknowledged). Bytes that are not those that were written end the program with
1 at once: there is nothing worse.
"""

import concurrent.futures
import hashlib
import json
import os
import random
import signal
import sys
import threading
import time

import boto3
import botocore.config
import botocore.exceptions

MIB = 1 << 20
NOISE = random.Random(1).randbytes(10 * MIB)
REMEMBERED = 200
FAILURES = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, OSError)


class Wrong(Exception):
    """What came back is not what was acknowledged."""


def client(threads):
    config = botocore.config.Config(
        connect_timeout=30,
        read_timeout=120,
        max_pool_connections=threads,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"mode": "standard", "total_max_attempts": 3},
        s3={"addressing_style": "path"},
    )
    return boto3.client("s3", region_name=os.environ["AWS_REGION"], config=config)


class Ledger:
    def __init__(self, path, mode="a"):
        self.file = open(path, mode, encoding="utf-8")
        self.lock = threading.Lock()

    def note(self, **fields):
        line = json.dumps(fields) + "\n"
        with self.lock:
            self.file.write(line)
            self.file.flush()


class Work:
    """Requests to one bucket, each noted in the ledger."""

    def __init__(self, s3, bucket, ledger):
        self.s3, self.bucket, self.ledger = s3, bucket, ledger

    def put(self, key, body):
        digest = hashlib.sha256(body).hexdigest()
        error, begun, at = None, time.monotonic(), time.time()
        try:
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        except FAILURES as failure:
            error = str(failure)
        seconds = time.monotonic() - begun
        self.ledger.note(op="put", key=key, size=len(body), sha256=digest, at=at, seconds=seconds, error=error)
        return None if error else digest

    def get(self, key, size, digest):
        error, begun, at = None, time.monotonic(), time.time()
        try:
            body = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except FAILURES as failure:
            error = str(failure)
        seconds = time.monotonic() - begun
        self.ledger.note(op="get", key=key, size=size, sha256=digest, at=at, seconds=seconds, error=error)
        if error is None and hashlib.sha256(body).hexdigest() != digest:
            raise Wrong(f"{key}: {len(body)} bytes came back that are not the {size} that were acknowledged")
        return error


def content(dice, size):
    """Bytes that no two objects share, made cheaply."""
    start = dice.randrange(len(NOISE) - size + 16)
    return dice.randbytes(16) + NOISE[start : start + size - 16]


def visit(work, number, stop, pause, sizes):
    """One thread: writes an object, then reads one that it wrote before."""
    dice = random.Random(number + time.time_ns())
    weights = [weight for _, weight in sizes]
    written, count = [], 0
    while not stop.is_set():
        size = dice.choices(sizes, weights)[0][0]
        key = f"t{number}/{count:06}"
        count += 1
        digest = work.put(key, content(dice, size))
        if digest:
            written = written[-REMEMBERED:] + [(key, size, digest)]
        if written:
            work.get(*dice.choice(written))
        stop.wait(pause)


def run(bucket, path, threads, pause_ms, *sizes):
    threads, pause = int(threads), float(pause_ms) / 1000
    sizes = [tuple(int(number) for number in size.split(":")) for size in sizes]
    s3, stop = client(threads), threading.Event()
    s3.create_bucket(Bucket=bucket)
    work = Work(s3, bucket, Ledger(path))
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    print("ready", flush=True)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(visit, work, number, stop, pause, sizes) for number in range(threads)]
        concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_EXCEPTION)
        stop.set()
        for thread in running:
            thread.result()


def burst(bucket, path, count, size):
    count, size = int(count), int(size)
    s3 = client(count)
    s3.create_bucket(Bucket=bucket)
    work, dice = Work(s3, bucket, Ledger(path)), random.Random(time.time_ns())
    bodies = [content(dice, size) for _ in range(count)]
    print("ready", flush=True)
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(work.put, f"burst/{number}", body) for number, body in enumerate(bodies)]:
            done.result()


def verify(bucket, path):
    with open(path, encoding="utf-8") as file:
        entries = [json.loads(line) for line in file]
    puts = [entry for entry in entries if entry["op"] == "put" and entry["error"] is None]
    work = Work(client(4), bucket, Ledger(os.devnull))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        checks = [(put, pool.submit(work.get, put["key"], put["size"], put["sha256"])) for put in puts]
    lost = [f"{put['key']}: {check.result()}" for put, check in checks if check.result() is not None]
    if lost:
        raise Wrong(f"{len(lost)} of {len(puts)} acknowledged objects cannot be read: {lost[:5]}")
    print(len(puts))


COMMANDS = {"run": run, "burst": burst, "verify": verify}
try:
    COMMANDS[sys.argv[1]](*sys.argv[2:])
except Wrong as wrong:
    sys.exit(f"WRONG: {wrong}")
