"""Shows that the network of these tests is what it claims to be.

probe.py serve ADDRESS PORT          answers each line: "echo" with one line,
                                     "send N" with N bytes and a line
probe.py rtt ADDRESS PORT COUNT      prints the shortest round trip in ms
probe.py rate ADDRESS PORT BYTES     prints how many Mbit/s came
probe.py udp-serve ADDRESS PORT      counts datagrams; prints the count after each
probe.py udp-send ADDRESS PORT N     sends N datagrams
"""

import socket
import socketserver
import sys
import time

LIMIT_SECONDS = 20
SO_RCVBUFFORCE = 33  # Python has no name for it


class Answers(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        for line in self.rfile:
            word, _, count = line.decode().strip().partition(" ")
            if word == "send":
                self.wfile.write(bytes(int(count)))
            self.wfile.write(b"end\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def serve(address, port):
    with Server((address, int(port)), Answers) as server:
        print("ready", flush=True)
        server.serve_forever()


def dial(address, port):
    link = socket.create_connection((address, int(port)), timeout=LIMIT_SECONDS)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def rtt(address, port, count):
    with dial(address, port) as link:
        times = []
        for _ in range(int(count)):
            begun = time.monotonic()
            link.sendall(b"echo\n")
            link.recv(4)
            times.append((time.monotonic() - begun) * 1000)
    print(min(times))


def rate(address, port, count):
    with dial(address, port) as link:
        link.settimeout(60)
        link.sendall(f"send {count}\n".encode())
        left = int(count) + len(b"end\n")
        begun = time.monotonic()
        while left:
            left -= len(link.recv(1 << 20))
    print(int(count) * 8 / 1e6 / (time.monotonic() - begun))


def udp_serve(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        # Room for all that is sent, also while this program does not run.
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        link.bind((address, int(port)))
        print("ready", flush=True)
        count = 0
        while link.recv(2048) != b"end":
            count += 1
        print(count, flush=True)


def udp_send(address, port, count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        for number in range(int(count)):
            link.sendto(b"datagram", (address, int(port)))
            if number % 50 == 0:
                time.sleep(0.001)
        for _ in range(20):
            link.sendto(b"end", (address, int(port)))


COMMANDS = {"serve": serve, "rtt": rtt, "rate": rate, "udp-serve": udp_serve, "udp-send": udp_send}
COMMANDS[sys.argv[1]](*sys.argv[2:])
