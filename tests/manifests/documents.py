"""Prints the documents of YAML files as one JSON object: for each file, a list.

A key that stands twice in one mapping is an error, which YAML leaves open.
"""

import json
import sys

import yaml


class Strict(yaml.CSafeLoader):
    pass


def mapping(loader, node):
    keys = [loader.construct_object(key) for key, _ in node.value]
    twice = {str(key) for key in keys if keys.count(key) > 1}
    if twice:
        raise yaml.YAMLError(f"{', '.join(twice)} stands twice{node.start_mark}")
    return dict(loader.construct_pairs(node, deep=True))


Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)


def documents(path):
    with open(path) as file:
        return [document for document in yaml.load_all(file, Strict) if document is not None]


print(json.dumps({path: documents(path) for path in sys.argv[1:]}))
