"""What the boto3 scripts share: a client, data, and expected errors."""

import base64
import hashlib
import random
import sys

import boto3
import botocore.config
import botocore.exceptions

MIB = 1 << 20
BUCKET = sys.argv[1]


def client(**settings):
    """A client with path-style addresses that does not hide errors by retrying."""
    s3 = settings.pop("s3", {})
    s3.setdefault("addressing_style", "path")
    settings.setdefault("retries", {"total_max_attempts": 1})
    settings.setdefault("signature_version", "s3v4")
    return boto3.client("s3", config=botocore.config.Config(s3=s3, **settings))


def data(seed, length):
    """`length` random bytes that are the same in every run."""
    return random.Random(seed).randbytes(length)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def same(got, wanted, what):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r:.500}, wanted {wanted!r:.500}")


def same_bytes(got, wanted, what):
    """Compare without printing megabytes."""
    same((len(got), sha256(got)), (len(wanted), sha256(wanted)), what)


def refused(code, status, call, **arguments):
    """The call fails with exactly this code and status."""
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        answer = error.response
        got = (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"])
        if got != (code, status):
            raise AssertionError(f"{call.__name__}: got {got}, wanted {(code, status)}: {error}") from error
        return answer
    raise AssertionError(f"{call.__name__} should have been refused with {code}")


def b64(raw):
    return base64.b64encode(raw).decode()


def read(s3, key, **more):
    return s3.get_object(Bucket=BUCKET, Key=key, **more)["Body"].read()
