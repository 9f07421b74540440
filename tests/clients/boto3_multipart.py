"""Multipart: unequal parts, copied ranges, part numbers, lists, aborts."""

import hashlib

from boto3_support import BUCKET, MIB, client, data, read, refused, same, same_bytes

s3 = client()


def begin(key, **more):
    return {"Bucket": BUCKET, "Key": key, "UploadId": s3.create_multipart_upload(Bucket=BUCKET, Key=key, **more)["UploadId"]}


def put(upload, number, body):
    return {"PartNumber": number, "ETag": s3.upload_part(PartNumber=number, Body=body, **upload)["ETag"]}


def complete(upload, parts, **more):
    return s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload, **more)


def etag_of(bodies):
    joined = b"".join(hashlib.md5(body).digest() for body in bodies)
    return f'"{hashlib.md5(joined).hexdigest()}-{len(bodies)}"'


def unequal_parts():
    bodies = [data(1, 5 * MIB), data(2, 17 * MIB + 3), data(3, 6 * MIB + 1), data(4, 9 * MIB), data(5, 12_345)]
    numbers = [1, 2, 3, 4, 5]
    upload = begin("unequal", ContentType="text/x-parts", Metadata={"colour": "grey"})
    # Out of order, and one part twice: the later one counts.
    put(upload, 3, data(99, 5 * MIB))
    parts = {n: put(upload, n, b) for n, b in reversed(list(zip(numbers, bodies)))}
    listed = s3.list_parts(**upload, MaxParts=2)
    same([p["PartNumber"] for p in listed["Parts"]], [1, 2], "first page of parts")
    same(listed["IsTruncated"], True, "more parts follow")
    rest = s3.list_parts(**upload, PartNumberMarker=listed["NextPartNumberMarker"])
    same([(p["PartNumber"], p["Size"]) for p in rest["Parts"]],
         [(n, len(b)) for n, b in list(zip(numbers, bodies))[2:]], "second page of parts")
    uploads = s3.list_multipart_uploads(Bucket=BUCKET, Prefix="uneq")
    same([u["UploadId"] for u in uploads["Uploads"]], [upload["UploadId"]], "uploads under way")
    refused("NoSuchKey", 404, s3.get_object, Bucket=BUCKET, Key="unequal")

    done = complete(upload, [parts[n] for n in numbers])
    same(done["ETag"], etag_of(bodies), "the ETag is the MD5 of the parts' MD5s")
    whole = b"".join(bodies)
    got = s3.get_object(Bucket=BUCKET, Key="unequal")
    same((got["ContentType"], got["Metadata"]), ("text/x-parts", {"colour": "grey"}), "headers of the upload")
    same_bytes(got["Body"].read(), whole, "the whole object")
    for index, body in enumerate(bodies, start=1):
        part = s3.get_object(Bucket=BUCKET, Key="unequal", PartNumber=index)
        same((part.get("PartsCount"), part["ResponseMetadata"]["HTTPStatusCode"]), (5, 206), f"part {index}")
        same_bytes(part["Body"].read(), body, f"part {index}")
    border = len(bodies[0])
    for first, last in [(0, 0), (border - 1, border), (border - 70_000, border + 18 * MIB), (len(whole) - 5, len(whole) + 9)]:
        same_bytes(read(s3, "unequal", Range=f"bytes={first}-{last}"), whole[first:last + 1], f"range {first}-{last}")
    same_bytes(read(s3, "unequal", Range="bytes=-100000"), whole[-100_000:], "suffix range")
    same_bytes(read(s3, "unequal", Range=f"bytes={border}-"), whole[border:], "open range")
    refused("InvalidRange", 416, s3.get_object, Bucket=BUCKET, Key="unequal", Range=f"bytes={len(whole)}-")
    return whole


def numbers_with_gaps():
    bodies = {3: data(7, 5 * MIB), 77: data(8, 5 * MIB + 1), 10_000: data(9, 99)}
    upload = begin("gaps")
    complete(upload, [put(upload, number, body) for number, body in bodies.items()])
    same_bytes(read(s3, "gaps"), b"".join(bodies.values()), "part numbers with gaps")


def copied_ranges(whole):
    upload = begin("copied")
    cuts = [(5 * MIB - 3, 11 * MIB), (0, 5 * MIB - 1), (20 * MIB + 1, 30 * MIB), (len(whole) - 12_000, len(whole) - 1)]
    parts, wanted = [], b""
    for number, (first, last) in enumerate(cuts, start=1):
        answer = s3.upload_part_copy(PartNumber=number, CopySource={"Bucket": BUCKET, "Key": "unequal"},
                                     CopySourceRange=f"bytes={first}-{last}", **upload)
        parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
        wanted += whole[first:last + 1]
    complete(upload, parts)
    same_bytes(read(s3, "copied"), wanted, "the object made of ranges")

    mixed = begin("mixed")
    own = data(6, 5 * MIB + 7)
    parts = [put(mixed, 1, own)]
    answer = s3.upload_part_copy(PartNumber=2, CopySource={"Bucket": BUCKET, "Key": "copied"}, **mixed)
    parts.append({"PartNumber": 2, "ETag": answer["CopyPartResult"]["ETag"]})
    complete(mixed, parts)
    s3.delete_object(Bucket=BUCKET, Key="copied")
    s3.delete_object(Bucket=BUCKET, Key="unequal")
    same_bytes(read(s3, "mixed"), own + wanted, "an object outlives the sources of its parts")

    bad = begin("bad-range")
    refused("InvalidArgument", 400, s3.upload_part_copy, PartNumber=1, CopySourceRange=f"bytes=0-{1 << 40}",
            CopySource={"Bucket": BUCKET, "Key": "mixed"}, **bad)
    refused("NoSuchKey", 404, s3.upload_part_copy, PartNumber=1, CopySource={"Bucket": BUCKET, "Key": "absent"}, **bad)
    s3.abort_multipart_upload(**bad)


def refusals():
    upload = begin("refused")
    small = [put(upload, n, data(n, 1000)) for n in (1, 2)]
    refused("EntityTooSmall", 400, complete, upload=upload, parts=small)
    refused("InvalidPartOrder", 400, complete, upload=upload, parts=small[::-1])
    wrong = [{"PartNumber": 1, "ETag": '"' + "0" * 32 + '"'}]
    refused("InvalidPart", 400, complete, upload=upload, parts=wrong)
    refused("InvalidPart", 400, complete, upload=upload, parts=[{**small[1], "PartNumber": 3}])
    refused("NoSuchKey", 404, s3.get_object, Bucket=BUCKET, Key="refused")
    s3.abort_multipart_upload(**upload)
    refused("NoSuchUpload", 404, s3.list_parts, **upload)
    refused("NoSuchUpload", 404, s3.upload_part, PartNumber=1, Body=b"late", **upload)
    same(s3.list_multipart_uploads(Bucket=BUCKET, Prefix="refused").get("Uploads", []), [], "nothing is left of it")


def conditions():
    upload = begin("once")
    parts = [put(upload, 1, b"first")]
    complete(upload, parts, IfNoneMatch="*")
    second = begin("once")
    parts = [put(second, 1, b"second")]
    refused("PreconditionFailed", 412, complete, upload=second, parts=parts, IfNoneMatch="*")
    same(read(s3, "once"), b"first", "the refused completion changed nothing")
    s3.abort_multipart_upload(**second)


copied_ranges(unequal_parts())
numbers_with_gaps()
refusals()
conditions()
print("done")
