"""Runs a program whose wall clock is wrong by what a file says, now: the file
may change while the program runs, and the clock jumps.

    wrong_clock.py FILE PROGRAM ARGUMENT...

FILE holds a number of seconds. The program needs no help and is not changed:
it is started without the vDSO, so that it asks the kernel for the time, and a
seccomp filter hands these calls to a process beside it, which answers them. The
monotonic clock is as it was. For x86-64 and root.
"""

import array, ctypes, fcntl, os, select, signal, socket, struct, sys, time

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PTRACE_GETREGS, PTRACE_DETACH, PTRACE_SEIZE, TRACE_EXEC = 12, 17, 0x4206, 1 << 4
SYS_SECCOMP, SET_FILTER, NEW_LISTENER = 317, 1, 8
RECEIVE, SEND = 0xC0502100, 0xC0182101
CLOCK_GETTIME, GETTIMEOFDAY, TIME = 228, 96, 201
AT_SYSINFO_EHDR, AT_IGNORE = 33, 1
ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def listener():
    """A filter for this process and what it becomes; answers the end that hears of its calls."""
    load, equal, give = 0x20, 0x15, 0x06
    program = [
        (load, 0, 0, 0),
        (equal, 5, 0, GETTIMEOFDAY),
        (equal, 4, 0, TIME),
        (equal, 0, 4, CLOCK_GETTIME),
        (load, 0, 0, 16),
        (equal, 1, 0, 0),  # CLOCK_REALTIME
        (equal, 0, 1, 5),  # CLOCK_REALTIME_COARSE
        (give, 0, 0, NOTIFY),
        (give, 0, 0, ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code)
    length_and_code = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    filter = ctypes.create_string_buffer(length_and_code)
    return checked(libc.syscall(SYS_SECCOMP, SET_FILTER, NEW_LISTENER, filter))


def hide_vdso(pid):
    """In a process that has just begun: its time functions become system calls."""
    registers = ctypes.create_string_buffer(27 * 8)
    checked(libc.ptrace(PTRACE_GETREGS, pid, None, registers))
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        def word(at):
            memory.seek(at)
            return struct.unpack("Q", memory.read(8))[0]

        at = struct.unpack("27Q", registers.raw[: 27 * 8])[19]
        at += 8 * (word(at) + 2)  # argc, argv and its end
        while word(at):
            at += 8
        at += 8
        while word(at):
            if word(at) == AT_SYSINFO_EHDR:
                memory.seek(at)
                memory.write(struct.pack("Q", AT_IGNORE))
            at += 16


def answer(listening, file):
    """Answers one call; false when nobody calls any more."""
    poll = select.poll()
    poll.register(listening, select.POLLIN)
    if any(event & select.POLLHUP for _, event in poll.poll()):
        return False
    call = bytearray(80)
    try:
        fcntl.ioctl(listening, RECEIVE, call)
        id, pid, _, number, _, _, first, second = struct.unpack_from("QIIiIQQQ", call)
        with open(file) as wrong:
            now = time.time_ns() + int(float(wrong.read() or 0) * 1e9)
        seconds, nanoseconds = divmod(now, 10**9)
        where = second if number == CLOCK_GETTIME else first
        told = {
            CLOCK_GETTIME: struct.pack("qq", seconds, nanoseconds),
            GETTIMEOFDAY: struct.pack("qq", seconds, nanoseconds // 1000),
            TIME: struct.pack("q", seconds),
        }[number]
        if where:
            with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
                memory.seek(where)
                memory.write(told)
        value = seconds if number == TIME else 0
        fcntl.ioctl(listening, SEND, struct.pack("QqiI", id, value, 0, 0))
    except (FileNotFoundError, ProcessLookupError, InterruptedError):
        pass  # who asked is gone, or asks again
    return True


def supervise(pid, channel, file):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, [listening], _, _ = socket.recv_fds(channel, 1, 1)
    checked(libc.ptrace(PTRACE_SEIZE, pid, None, TRACE_EXEC))
    channel.send(b"x")
    channel.close()
    os.waitpid(pid, 0x40000000)
    hide_vdso(pid)
    checked(libc.ptrace(PTRACE_DETACH, pid, None, None))
    while answer(listening, file):
        pass


def main():
    file, program = sys.argv[1], sys.argv[2:]
    ours, theirs = socket.socketpair()
    pid = os.getpid()
    if os.fork() == 0:
        ours.close()
        supervise(pid, theirs, file)
        os._exit(0)
    theirs.close()
    socket.send_fds(ours, [b"x"], [listener()])
    ours.recv(1)
    os.execv(program[0], program)


main()
