"""Objects and their headers: metadata, conditions, copies, presigned requests, refusals."""

import datetime
import os
import urllib.error
import urllib.request

import boto3

from boto3_support import BUCKET, MIB, b64, client, data, read, refused, same, same_bytes, sha256

s3 = client()


def headers_are_kept():
    metadata = {"plain": "value", "with-dash": "a, b; c=\"d\"", "spaces": "in  the   middle", "percent": "100%25 +", "empty": "",
                "long": "x" * 700}
    standard = {
        "CacheControl": "max-age=31536000, immutable", "ContentDisposition": "attachment; filename*=UTF-8''na%C3%AFve.txt",
        "ContentEncoding": "gzip", "ContentLanguage": "de, en-GB", "ContentType": "application/x-odd; charset=\"utf-8\"",
    }
    expires = datetime.datetime(2031, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    s3.put_object(Bucket=BUCKET, Key="headers", Body=b"body", Metadata=metadata, Expires=expires, **standard)
    for call in (s3.head_object, s3.get_object):
        got = call(Bucket=BUCKET, Key="headers")
        same(got["Metadata"], metadata, "metadata")
        same({name: got[name] for name in standard}, standard, "standard headers")
        same(got["Expires"], expires, "Expires")
    got = s3.get_object(Bucket=BUCKET, Key="headers", ResponseContentType="text/plain", ResponseContentDisposition="inline")
    same((got["ContentType"], got["ContentDisposition"]), ("text/plain", "inline"), "response overrides")
    refused("MetadataTooLarge", 400, s3.put_object, Bucket=BUCKET, Key="too-large", Body=b"", Metadata={"x": "y" * 2100})


def copies():
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "headers"})
    same(s3.head_object(Bucket=BUCKET, Key="copy")["Metadata"]["plain"], "value", "a copy keeps the metadata")
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "headers"}, MetadataDirective="REPLACE",
                   Metadata={"new": "one"}, ContentType="text/new")
    head = s3.head_object(Bucket=BUCKET, Key="copy")
    same((head["Metadata"], head["ContentType"]), ({"new": "one"}, "text/new"), "a copy with new metadata")
    odd = "odd dir/ä+b%20c?.txt"
    s3.put_object(Bucket=BUCKET, Key=odd, Body=b"odd")
    s3.copy_object(Bucket=BUCKET, Key="from-odd", CopySource={"Bucket": BUCKET, "Key": odd})
    same(read(s3, "from-odd"), b"odd", "a source with an odd name")
    refused("InvalidRequest", 400, s3.copy_object, Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "copy"})
    etag = s3.head_object(Bucket=BUCKET, Key="headers")["ETag"]
    source = {"Bucket": BUCKET, "Key": "headers"}
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource=source, CopySourceIfMatch=etag)
    refused("PreconditionFailed", 412, s3.copy_object, Bucket=BUCKET, Key="copy", CopySource=source, CopySourceIfNoneMatch=etag)


def conditional_reads():
    body = data(40, MIB + 1)
    etag = s3.put_object(Bucket=BUCKET, Key="read", Body=body)["ETag"]
    same_bytes(read(s3, "read", IfMatch=etag), body, "If-Match with the right ETag")
    refused("PreconditionFailed", 412, s3.get_object, Bucket=BUCKET, Key="read", IfMatch='"0"')
    refused("304", 304, s3.get_object, Bucket=BUCKET, Key="read", IfNoneMatch=etag)
    refused("304", 304, s3.head_object, Bucket=BUCKET, Key="read", IfNoneMatch=etag)
    modified = s3.head_object(Bucket=BUCKET, Key="read")["LastModified"]
    refused("304", 304, s3.get_object, Bucket=BUCKET, Key="read", IfModifiedSince=modified)
    refused("PreconditionFailed", 412, s3.get_object, Bucket=BUCKET, Key="read",
            IfUnmodifiedSince=modified - datetime.timedelta(hours=1))


def conditional_writes():
    etag = s3.put_object(Bucket=BUCKET, Key="cas", Body=b"1", IfNoneMatch="*")["ETag"]
    refused("PreconditionFailed", 412, s3.put_object, Bucket=BUCKET, Key="cas", Body=b"2", IfNoneMatch="*")
    new = s3.put_object(Bucket=BUCKET, Key="cas", Body=b"2", IfMatch=etag)["ETag"]
    refused("PreconditionFailed", 412, s3.put_object, Bucket=BUCKET, Key="cas", Body=b"3", IfMatch=etag)
    refused("NoSuchKey", 404, s3.put_object, Bucket=BUCKET, Key="cas-absent", Body=b"3", IfMatch=etag)
    refused("PreconditionFailed", 412, s3.delete_object, Bucket=BUCKET, Key="cas", IfMatch=etag)
    same(read(s3, "cas"), b"2", "refused writes change nothing")
    s3.delete_object(Bucket=BUCKET, Key="cas", IfMatch=new)
    refused("NoSuchKey", 404, s3.get_object, Bucket=BUCKET, Key="cas")


def fetch(address, method="GET", body=None, headers=None):
    headers = {"Content-Type": "application/octet-stream"} | (headers or {})
    request = urllib.request.Request(address, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def presigned():
    body = data(41, 9 * MIB)
    put = s3.generate_presigned_url("put_object", {"Bucket": BUCKET, "Key": "signed/up"}, ExpiresIn=600)
    same(fetch(put, "PUT", body)[0], 200, "a presigned PUT")
    get = s3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "signed/up"}, ExpiresIn=600)
    status, got = fetch(get)
    same(status, 200, "a presigned GET")
    same_bytes(got, body, "a presigned GET")
    status, answer = fetch(get, headers={"Range": "bytes=5-9"})
    same((status, answer), (206, body[5:10]), "a presigned GET with a range")
    same(fetch(get, "DELETE")[0], 403, "a GET is not a DELETE")
    same(fetch(get.replace("signed/up", "headers"))[0], 403, "nor another key's")
    same(fetch(put, "PUT", b"x", {"x-amz-copy-source": f"/{BUCKET}/headers"})[0], 403, "an unsigned x-amz header is refused")
    same_bytes(read(s3, "signed/up"), body, "and changed nothing")
    typed = s3.generate_presigned_url("put_object", {"Bucket": BUCKET, "Key": "signed/typed", "ContentType": "text/x"},
                                      ExpiresIn=600)
    same(fetch(typed, "PUT", b"x", {"Content-Type": "text/y"})[0], 403, "a signed header must be as signed")
    same(fetch(typed, "PUT", b"x", {"Content-Type": "text/x"})[0], 200, "as signed")


def attributes():
    body = data(42, 2 * MIB)
    etag = s3.put_object(Bucket=BUCKET, Key="attributes", Body=body, ChecksumAlgorithm="SHA256")["ETag"]
    got = s3.get_object_attributes(Bucket=BUCKET, Key="attributes", ObjectAttributes=["ETag", "Checksum", "ObjectSize", "StorageClass"])
    wanted = (etag.strip('"'), b64(bytes.fromhex(sha256(body))), len(body), "STANDARD")
    same((got["ETag"], got["Checksum"]["ChecksumSHA256"], got["ObjectSize"], got["StorageClass"]), wanted, "attributes")


def empty_bodies():
    """The SDK asks for 100 Continue also where nothing would follow, and is
    confused by an answer to the next request on that connection."""
    impatient = client(read_timeout=30)
    for number in range(3):
        impatient.put_object(Bucket=BUCKET, Key=f"empty/{number}", Body=b"")
        impatient.put_object(Bucket=BUCKET, Key=f"full/{number}", Body=b"full")
        refused("NoSuchBucket", 404, impatient.put_object, Bucket="no-such-bucket-here", Key="x", Body=b"x" * 100_000)
        same((read(impatient, f"empty/{number}"), read(impatient, f"full/{number}")), (b"", b"full"), "empty and full")


def payload_styles():
    """Signed and unsigned payloads, and the client's own multipart transfers."""
    body = data(43, 40 * MIB)
    for settings in ({"s3": {"payload_signing_enabled": True}}, {"s3": {"payload_signing_enabled": False}},
                     {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}):
        other = client(**settings)
        other.put_object(Bucket=BUCKET, Key="style", Body=body[: 9 * MIB])
        same_bytes(read(other, "style"), body[: 9 * MIB], f"with {settings}")
    path = f"{BUCKET}.bin"
    with open(path, "wb") as file:
        file.write(body)
    s3.upload_file(path, BUCKET, "transfer")
    s3.download_file(BUCKET, "transfer", path)
    with open(path, "rb") as file:
        same_bytes(file.read(), body, "upload_file and download_file")


def refusals():
    stranger = boto3.client("s3", aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="not-the-secret")
    refused("InvalidAccessKeyId", 403, stranger.list_buckets)
    forger = boto3.client("s3", aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], aws_secret_access_key="not-the-secret")
    refused("SignatureDoesNotMatch", 403, forger.list_buckets)
    refused("NoSuchBucket", 404, s3.get_object, Bucket="no-such-bucket-here", Key="x")
    refused("NoSuchKey", 404, s3.get_object, Bucket=BUCKET, Key="no-such-key")
    refused("404", 404, s3.head_bucket, Bucket="no-such-bucket-here")
    refused("KeyTooLongError", 400, s3.put_object, Bucket=BUCKET, Key="k" * 1025, Body=b"")
    s3.put_object(Bucket=BUCKET, Key="k" * 1024, Body=b"long")
    same(read(s3, "k" * 1024), b"long", "the longest key")
    same(BUCKET in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]], True, "the bucket is listed")
    s3.get_bucket_location(Bucket=BUCKET)


headers_are_kept()
copies()
conditional_reads()
conditional_writes()
presigned()
attributes()
empty_bodies()
payload_styles()
refusals()
print("done")
