"""The five checksum algorithms, as header and as trailer, on objects and parts.

Over TLS, because there alone the SDK computes while it sends and puts the
value into a trailer; over plain HTTP it reads everything twice.
"""

import hashlib

import awscrt.checksums

from boto3_support import BUCKET, MIB, b64, client, data, read, refused, same, same_bytes

s3 = client()

# Every algorithm in Python, so that the server's value is compared with one
# that did not come from it.
COMPUTE = {
    "CRC32": lambda body: awscrt.checksums.crc32(body).to_bytes(4, "big"),
    "CRC32C": lambda body: awscrt.checksums.crc32c(body).to_bytes(4, "big"),
    "CRC64NVME": lambda body: awscrt.checksums.crc64nvme(body).to_bytes(8, "big"),
    "SHA1": lambda body: hashlib.sha1(body).digest(),
    "SHA256": lambda body: hashlib.sha256(body).digest(),
}


def returned(key, algorithm):
    head = s3.head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
    return head.get(f"Checksum{algorithm}"), head.get("ChecksumType")


def header(algorithm, body):
    """The value in a header: given by us, and then once more wrong."""
    key, field = f"header/{algorithm}", f"Checksum{algorithm}"
    value = b64(COMPUTE[algorithm](body))
    s3.put_object(Bucket=BUCKET, Key=key, Body=body, **{field: value})
    same(returned(key, algorithm), (value, "FULL_OBJECT"), f"{algorithm} in a header")
    same_bytes(read(s3, key, ChecksumMode="ENABLED"), body, f"{algorithm} in a header")
    wrong = b64(COMPUTE[algorithm](body + b"!"))
    refused("BadDigest", 400, s3.put_object, Bucket=BUCKET, Key=key + "/wrong", Body=body, **{field: wrong})
    refused("404", 404, s3.head_object, Bucket=BUCKET, Key=key + "/wrong")


def trailer(algorithm, body):
    """The value in a trailer of an aws-chunked body."""
    key = f"trailer/{algorithm}"
    sent = {}

    def look(request, **_):
        sent.update({name.lower(): value for name, value in request.headers.items()})

    s3.meta.events.register_last("before-send.s3.PutObject", look)
    s3.put_object(Bucket=BUCKET, Key=key, Body=body, ChecksumAlgorithm=algorithm)
    s3.meta.events.unregister("before-send.s3.PutObject", look)
    name = sent.get("x-amz-trailer", b"")
    name = name.decode() if isinstance(name, bytes) else name
    same(name, f"x-amz-checksum-{algorithm.lower()}", "the SDK used a trailer")
    same(returned(key, algorithm), (b64(COMPUTE[algorithm](body)), "FULL_OBJECT"), f"{algorithm} in a trailer")
    same_bytes(read(s3, key, ChecksumMode="ENABLED"), body, f"{algorithm} in a trailer")


def multipart(algorithm, kind):
    """Parts with checksums; the object's is computed by the server."""
    key = f"multipart/{algorithm}/{kind}"
    field = f"Checksum{algorithm}"
    bodies = [data(31, 5 * MIB + 1), data(32, 6 * MIB), data(33, 777)]
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    upload = {"Bucket": BUCKET, "Key": key, "UploadId": upload["UploadId"]}
    parts = []
    for number, body in enumerate(bodies, start=1):
        answer = s3.upload_part(PartNumber=number, Body=body, ChecksumAlgorithm=algorithm, **upload)
        same(answer[field], b64(COMPUTE[algorithm](body)), f"{key} part {number}")
        parts.append({"PartNumber": number, "ETag": answer["ETag"], field: answer[field]})
    done = s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
    if kind == "COMPOSITE":
        joined = b"".join(COMPUTE[algorithm](body) for body in bodies)
        wanted = f"{b64(COMPUTE[algorithm](joined))}-{len(bodies)}"
    else:
        wanted = b64(COMPUTE[algorithm](b"".join(bodies)))
    same((done.get(field), done.get("ChecksumType")), (wanted, kind), f"{key} completed")
    same(returned(key, algorithm), (wanted, kind), f"{key} looked up")
    attributes = s3.get_object_attributes(Bucket=BUCKET, Key=key, ObjectAttributes=["Checksum", "ObjectParts", "ObjectSize", "ETag"])
    # Here S3 itself leaves out the number of parts.
    same(attributes["Checksum"][field].split("-")[0], wanted.split("-")[0], f"{key} attributes")
    same(attributes["ObjectSize"], sum(map(len, bodies)), f"{key} size")
    same(attributes["ObjectParts"]["TotalPartsCount"], len(bodies), f"{key} parts")
    same([p["Size"] for p in attributes["ObjectParts"].get("Parts", [])], [len(b) for b in bodies], f"{key} part sizes")
    same_bytes(read(s3, key, ChecksumMode="ENABLED"), b"".join(bodies), key)


def wrong_part():
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="wrong-part", ChecksumAlgorithm="CRC32C")
    upload = {"Bucket": BUCKET, "Key": "wrong-part", "UploadId": upload["UploadId"]}
    refused("BadDigest", 400, s3.upload_part, PartNumber=1, Body=b"right", ChecksumCRC32C=b64(COMPUTE["CRC32C"](b"left")), **upload)
    same(s3.list_parts(**upload).get("Parts", []), [], "the part was not kept")
    s3.abort_multipart_upload(**upload)


def content_md5(body):
    right = b64(hashlib.md5(body).digest())
    s3.put_object(Bucket=BUCKET, Key="md5", Body=body, ContentMD5=right)
    wrong = b64(hashlib.md5(b"else").digest())
    refused("BadDigest", 400, s3.put_object, Bucket=BUCKET, Key="md5", Body=b"changed", ContentMD5=wrong)
    refused("InvalidDigest", 400, s3.put_object, Bucket=BUCKET, Key="md5", Body=b"changed", ContentMD5="rubbish")
    same_bytes(read(s3, "md5"), body, "refused bodies change nothing")


BODY = data(30, 3 * MIB + 11)
for name in COMPUTE:
    header(name, BODY)
    header(name, data(34, 100))
    trailer(name, BODY)
for name in ("CRC32", "CRC32C", "SHA1", "SHA256"):
    multipart(name, "COMPOSITE")
for name in ("CRC32", "CRC32C", "CRC64NVME"):
    multipart(name, "FULL_OBJECT")
wrong_part()
content_md5(BODY)
print("done")
