"""Lists in pages, both versions, with delimiters; deleting many at once."""

import concurrent.futures

from boto3_support import BUCKET, client, refused, same

s3 = client()

ODD = ["odd/a b", "odd/a+b", "odd/a%20b", "odd/ä", "odd/🪨", "odd/..", "odd//", "odd//x", "odd/x/../y", "odd/.", "odd/a&<>'\"b", "odd/%"]
KEYS = sorted(
    [f"dir{d:02}/file{f:03}" for d in range(20) for f in range(60)] + [f"top{n:03}" for n in range(30)] + ODD,
    key=lambda key: key.encode(),
)


def put(key):
    s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())


def pages(operation, **arguments):
    keys, prefixes, count = [], [], 0
    for page in s3.get_paginator(operation).paginate(Bucket=BUCKET, **arguments):
        keys += [entry["Key"] for entry in page.get("Contents", [])]
        prefixes += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        count += 1
    return keys, prefixes, count


def by_delimiter(prefix, delimiter):
    """What a list with a delimiter must show, computed from the names."""
    keys, prefixes = [], []
    for key in KEYS:
        if not key.startswith(prefix):
            continue
        head, found, _ = key[len(prefix):].partition(delimiter)
        if not found:
            keys.append(key)
        elif prefix + head + delimiter not in prefixes:
            prefixes.append(prefix + head + delimiter)
    return keys, prefixes


with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(put, KEYS))

for operation in ("list_objects_v2", "list_objects"):
    for size in (1000, 97, 333):
        keys, _, count = pages(operation, PaginationConfig={"PageSize": size})
        same(keys, KEYS, f"{operation} in pages of {size}")
        same(count, -(-len(KEYS) // size), f"{operation}: number of pages of {size}")
    for prefix, delimiter in [("", "/"), ("dir1", "/"), ("odd/", "/"), ("odd", "a"), ("dir07/", "file00"), ("", "🪨"), ("nothing", "/")]:
        for size in (1000, 7):
            keys, prefixes, _ = pages(operation, Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": size})
            same((keys, prefixes), by_delimiter(prefix, delimiter), f"{operation} {prefix!r} {delimiter!r} by {size}")

page = s3.list_objects_v2(Bucket=BUCKET, StartAfter="dir05/file010", MaxKeys=3, FetchOwner=True)
same([entry["Key"] for entry in page["Contents"]], ["dir05/file011", "dir05/file012", "dir05/file013"], "start after")
same((page["KeyCount"], page["IsTruncated"], "Owner" in page["Contents"][0]), (3, True, True), "counted, truncated, owner")
page = s3.list_objects(Bucket=BUCKET, Marker="top028")
same([entry["Key"] for entry in page["Contents"]], ["top029"], "marker")
page = s3.list_objects_v2(Bucket=BUCKET, MaxKeys=0)
same((page["KeyCount"], page["IsTruncated"]), (0, False), "no keys asked for")
entry = s3.list_objects_v2(Bucket=BUCKET, Prefix="top000")["Contents"][0]
same((entry["Size"], entry["StorageClass"]), (6, "STANDARD"), "size and class of an entry")
refused("InvalidArgument", 400, s3.list_objects_v2, Bucket=BUCKET, ContinuationToken="not a token of ours")

for key in ODD:
    same(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read(), key.encode(), f"content of {key!r}")

gone, kept = KEYS[:1000], KEYS[1000:]
answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in gone]})
same(sorted(entry["Key"] for entry in answer["Deleted"]), sorted(gone), "1,000 deleted at once")
same(answer.get("Errors", []), [], "no errors")
same(pages("list_objects_v2")[0], kept, "what is left")
refused("MalformedXML", 400, s3.delete_objects, Bucket=BUCKET, Delete={"Objects": [{"Key": f"k{n}"} for n in range(1001)]})
refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=BUCKET)
answer = s3.delete_objects(Bucket=BUCKET, Delete={"Quiet": True, "Objects": [{"Key": key} for key in kept + ["never there"]]})
same((answer.get("Deleted", []), answer.get("Errors", [])), ([], []), "a quiet delete")
same(pages("list_objects_v2")[0], [], "everything deleted")
s3.delete_bucket(Bucket=BUCKET)
refused("NoSuchBucket", 404, s3.list_objects_v2, Bucket=BUCKET)
print("done")
