"""Validates Kubernetes objects strictly: no field that the schema does not have, no
kind without a schema.

    validate.py DOCUMENTS.json SCHEMAS VERSION...

DOCUMENTS.json maps a name to a list of objects. SCHEMAS is a folder with schemas of
kinds that Kubernetes does not bring, one `Kind.json` each. Prints a line for each
complaint.
"""

import json
import pathlib
import sys

import jsonschema
import kubernetes_validate


def complaints(document, schemas, version):
    own = pathlib.Path(schemas, f"{document.get('kind')}.json")
    if own.exists():
        validator = jsonschema.Draft202012Validator(json.loads(own.read_text()))
        return [f"{'/'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(document)]
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return ["there is no schema for this kind in this version"]
    except kubernetes_validate.ValidationError as error:
        return [f"{'/'.join(map(str, error.path))}: {error.message}"]
    return []


def main(path, schemas, *versions):
    for name, documents in json.loads(pathlib.Path(path).read_text()).items():
        for document in documents:
            for version in versions:
                for complaint in complaints(document, schemas, version):
                    thing = f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"
                    print(f"{name}: {thing} ({version}): {complaint}")


main(*sys.argv[1:])
