"""The cluster's name server, in place of CoreDNS, which cannot be had.

It answers what CoreDNS answers for `SERVICE.NAMESPACE.svc.cluster.local` and
`POD.SERVICE.NAMESPACE.svc.cluster.local`, from the API at each question; every
other name does not exist, as there is no way out.

    names.py ADDRESS TOKEN AUTHORITY
"""

import json
import socketserver
import ssl
import struct
import sys
import threading
import urllib.error
import urllib.request

DOMAIN = ["svc", "cluster", "local"]
A = 1
NO_ERROR, SERVER_FAILURE, NO_NAME = 0, 2, 3


class Cluster:
    """What the API says about Services."""

    def __init__(self, address, token, authority):
        self.base = f"https://{address}:6443/api/v1/namespaces"
        self.headers = {"Authorization": f"Bearer {token}"}
        self.trust = ssl.create_default_context(cafile=authority)

    def get(self, namespace, kind, name):
        request = urllib.request.Request(f"{self.base}/{namespace}/{kind}/{name}", headers=self.headers)
        with urllib.request.urlopen(request, context=self.trust, timeout=4) as answer:
            return json.load(answer)

    def addresses(self, labels):
        """Those of a name; None where it does not exist."""
        if labels[-3:] != DOMAIN or len(labels) not in (5, 6):
            return None
        *pod, service, namespace = labels[:-3]
        try:
            spec = self.get(namespace, "services", service)["spec"]
            if spec.get("clusterIP") != "None":
                return None if pod else [spec["clusterIP"]]
            ready = self.ready(namespace, service)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        found = [one["ip"] for one in ready if not pod or one.get("hostname") == pod[0]]
        return found or (None if pod else [])

    def ready(self, namespace, service):
        subsets = self.get(namespace, "endpoints", service).get("subsets") or []
        return [one for subset in subsets for one in subset.get("addresses") or []]


def question(message):
    """Labels in lower case, type, and the question as it came."""
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode("ascii").lower())
        at += 1 + message[at]
    return labels, struct.unpack_from(">H", message, at + 1)[0], message[12 : at + 5]


def answer(message, cluster):
    labels, kind, asked = question(message)
    code, found = NO_ERROR, []
    try:
        found = cluster.addresses(labels)
    except (OSError, KeyError, ValueError) as error:
        print(".".join(labels), repr(error), file=sys.stderr, flush=True)
        code = SERVER_FAILURE
    if found is None:
        code = NO_NAME
    records = [socket_bytes(one) for one in (found or []) if kind == A]
    (flags,) = struct.unpack_from(">H", message, 2)
    head = message[:2] + struct.pack(">HHHHH", 0x8480 | flags & 0x0100 | code, 1, len(records), 0, 0)
    # A pointer to the name asked for, type A, class IN, good for five seconds.
    return head + asked + b"".join(struct.pack(">HHHIH", 0xC00C, A, 1, 5, 4) + one for one in records)


def socket_bytes(address):
    return bytes(int(part) for part in address.split("."))


class ByDatagram(socketserver.BaseRequestHandler):
    def handle(self):
        message, socket = self.request
        socket.sendto(answer(message, self.server.cluster), self.client_address)


class ByStream(socketserver.StreamRequestHandler):
    def handle(self):
        while len(length := self.rfile.read(2)) == 2:
            reply = answer(self.rfile.read(int.from_bytes(length, "big")), self.server.cluster)
            self.wfile.write(len(reply).to_bytes(2, "big") + reply)


def main(address, token, authority):
    servers = [
        socketserver.ThreadingUDPServer((address, 53), ByDatagram),
        socketserver.ThreadingTCPServer((address, 53), ByStream),
    ]
    for server in servers:
        server.daemon_threads = True
        server.cluster = Cluster(address, token, authority)
    threading.Thread(target=servers[1].serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
