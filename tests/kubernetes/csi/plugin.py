"""A CSI node plug-in that mounts buckets with rclone.

It stands in for `ch.ctrox.csi.s3-driver` and `ru.yandex.s3.csi`, which cannot be
had where the tests run. What is real: the kubelet, its calls, the mounts' way
into pods, rclone, and the manifests with their parameters and options. What is
not: the drivers' own programs. So this keeps to what theirs do for the mounter
`rclone`: the same flags in the same order, credentials by the environment, the
options of the volume behind them; at the end `umount`, then a wait for rclone's
process. Like them it does NOT wait for files that rclone has yet to upload.

    plugin.py DRIVER NODE FOLDER-OF-THE-KUBELET
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import time
from concurrent import futures

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).parent))
csi, csi_services = grpc.protos_and_services("csi.proto")
registration, registration_services = grpc.protos_and_services("registration.proto")

MOUNT_SECONDS = 30
END_SECONDS = 60


def log(*words):
    print(time.strftime("%T"), *words, flush=True)


def mount(request):
    """What the drivers' `rcloneMounter.Mount` does."""
    options = shlex.split(request.volume_context.get("options", ""))
    flags = [
        "--daemon",
        "--s3-provider=AWS",
        "--s3-env-auth=true",
        f"--s3-region={request.secrets.get('region', '')}",
        f"--s3-endpoint={request.secrets['endpoint']}",
        "--allow-other",
        "--vfs-cache-mode=writes",
    ]
    environment = dict(
        os.environ,
        AWS_ACCESS_KEY_ID=request.secrets["accessKeyID"],
        AWS_SECRET_ACCESS_KEY=request.secrets["secretAccessKey"],
    )
    # A volume's id is its bucket, or bucket/prefix.
    call = ["rclone", "mount", f":s3:{request.volume_id}", request.target_path, *flags, *options]
    log("mounts", *call)
    return subprocess.run(call, env=environment, capture_output=True, text=True, timeout=MOUNT_SECONDS)


def process_of(target):
    """The id of the rclone that serves a mount."""
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"rclone") and target.encode() in words:
                return int(entry.name)
    return None


def has_ended(process):
    try:
        return re.search(r"^State:\s+Z", pathlib.Path(f"/proc/{process}/status").read_text(), re.M) is not None
    except OSError:
        return True


class Identity(csi_services.IdentityServicer):
    def __init__(self, driver):
        self.driver = driver

    def GetPluginInfo(self, request, context):
        return csi.GetPluginInfoResponse(name=self.driver, vendor_version="test")

    def GetPluginCapabilities(self, request, context):
        return csi.GetPluginCapabilitiesResponse()

    def Probe(self, request, context):
        return csi.ProbeResponse()


class Node(csi_services.NodeServicer):
    def __init__(self, node):
        self.node = node

    def NodeGetInfo(self, request, context):
        return csi.NodeGetInfoResponse(node_id=self.node)

    def NodeGetCapabilities(self, request, context):
        rpc = csi.NodeServiceCapability.RPC
        stages = csi.NodeServiceCapability(rpc=rpc(type=rpc.STAGE_UNSTAGE_VOLUME))
        return csi.NodeGetCapabilitiesResponse(capabilities=[stages])

    def NodeStageVolume(self, request, context):
        # The mounter rclone has nothing to do here.
        return csi.NodeStageVolumeResponse()

    def NodeUnstageVolume(self, request, context):
        return csi.NodeUnstageVolumeResponse()

    def NodePublishVolume(self, request, context):
        mounter = request.volume_context.get("mounter")
        if mounter != "rclone":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the tests' plug-in mounts with rclone, not {mounter!r}")
        os.makedirs(request.target_path, mode=0o750, exist_ok=True)
        if not os.path.ismount(request.target_path):
            done = mount(request)
            if done.returncode != 0:
                context.abort(grpc.StatusCode.INTERNAL, f"rclone cannot mount {request.volume_id}: {done.stderr}")
        return csi.NodePublishVolumeResponse()

    def NodeUnpublishVolume(self, request, context):
        log("unmounts", request.target_path)
        if os.path.ismount(request.target_path):
            process = process_of(request.target_path)
            done = subprocess.run(["umount", request.target_path], capture_output=True, text=True)
            if done.returncode != 0:
                context.abort(grpc.StatusCode.INTERNAL, done.stderr)
            self.wait_for_end(process, context)
        if os.path.isdir(request.target_path):
            os.rmdir(request.target_path)
        return csi.NodeUnpublishVolumeResponse()

    def wait_for_end(self, process, context):
        until = time.monotonic() + END_SECONDS
        while process is not None and not has_ended(process):
            if time.monotonic() > until:
                context.abort(grpc.StatusCode.INTERNAL, f"rclone ({process}) does not end")
            time.sleep(0.05)


class Registration(registration_services.RegistrationServicer):
    def __init__(self, driver, endpoint):
        self.info = registration.PluginInfo(
            type="CSIPlugin", name=driver, endpoint=endpoint, supported_versions=["1.0.0"]
        )

    def GetInfo(self, request, context):
        return self.info

    def NotifyRegistrationStatus(self, request, context):
        log("registered" if request.plugin_registered else f"refused: {request.error}")
        return registration.RegistrationStatusResponse()


def serve(socket, add):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    add(server)
    server.add_insecure_port(f"unix://{socket}")
    server.start()
    return server


def main(driver, node, kubelet):
    folder = pathlib.Path(kubelet, "plugins", driver)
    folder.mkdir(parents=True, exist_ok=True)
    registry = pathlib.Path(kubelet, "plugins_registry")
    registry.mkdir(parents=True, exist_ok=True)
    endpoint = str(folder / "csi.sock")

    def add_services(server):
        csi_services.add_IdentityServicer_to_server(Identity(driver), server)
        csi_services.add_NodeServicer_to_server(Node(node), server)

    def add_registration(server):
        registration_services.add_RegistrationServicer_to_server(Registration(driver, endpoint), server)

    servers = [serve(endpoint, add_services), serve(registry / f"{driver}-reg.sock", add_registration)]
    servers[1].wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
