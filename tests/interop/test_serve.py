#!/usr/bin/python3
"""metalcow serve with other people's NBD clients: nbdinfo, nbdcopy, qemu-img, qemu-io, fio; and
with clients that break the protocol.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests import cases  # noqa: E402
from tests.cases import check, check_equal  # noqa: E402
from tests.interop.tool import METALCOW, Folder  # noqa: E402
from tools import speed  # noqa: E402

MIB = 1024 * 1024
SIZE = 16 * MIB


@contextlib.contextmanager
def server(folder, *arguments, ends_with=0, given=""):
    """A server in the folder; yields its URI. SIGTERM must end it with this status. `given` is all
    that it finds on standard input."""
    process = subprocess.Popen([str(METALCOW), "serve", *map(str, arguments)], cwd=folder.path,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        process.stdin.write(given)
        process.stdin.close()
        process.stdin = None
        uri = process.stdout.readline().strip()
        check(uri.startswith("nbd"), f"no server: {process.stderr.read() if not uri else uri}")
        yield uri
        check_equal(process.poll(), None, "the server's status before it was told to stop")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=speed.stretch(30))
        check_equal(process.returncode, ends_with, f"exit status of the server: {err}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def pattern_image(folder, name="a.qcow2", options=()):
    """An image with data at 0, a hole, zeros, and data near the end; and its content as raw."""
    folder.qemu_img("create", "-q", "-f", "qcow2", *options, name, SIZE)
    folder.qemu_io("qcow2", name, "write -P 7 0 1M", "write -P 9 15M 300k", "write -z 2M 1M")
    folder.qemu_img("convert", "-f", "qcow2", "-O", "raw", name, "want.raw")


def same(folder, a, b):
    check((folder.path / a).read_bytes() == (folder.path / b).read_bytes(), f"{a} is not {b}")


def test_serve_clients_read_what_is_in_the_image():
    with Folder("serve") as folder:
        pattern_image(folder)
        with server(folder, "--read-only", "--port", 0, "a.qcow2") as uri:
            info = json.loads(folder.run("nbdinfo", "--json", uri)[1])
            export = info["exports"][0]
            check_equal((info["protocol"], export["export-size"], export["is_read_only"],
                         export["can_multi_conn"], export["can_fua"]),
                        ("newstyle-fixed", SIZE, True, True, False), "nbdinfo")
            check("base:allocation" in export["contexts"], "nbdinfo names no context")
            status, out, err = folder.run("nbdcopy", uri, "copy.raw")
            check_equal((status, err), (0, ""), "nbdcopy")
            same(folder, "copy.raw", "want.raw")
            folder.qemu_img("convert", "-f", "raw", "-O", "raw", uri, "qemu.raw")
            same(folder, "qemu.raw", "want.raw")
            status, _, err = folder.run("qemu-io", "-f", "raw", "-c", "write 0 512", uri)
            check(status != 0, "a read-only export was written")


def test_serve_block_status_shows_holes():
    with Folder("serve") as folder:
        pattern_image(folder)
        with server(folder, "-r", "-k", "s", "a.qcow2") as uri:
            rows = json.loads(folder.run("nbdinfo", "--map", "--json", uri)[1])
            got = [(row["offset"], row["length"], row["type"]) for row in rows]
            want = [(0, MIB, 0), (MIB, 14 * MIB, 3), (15 * MIB, 320 * 1024, 0),
                    (15 * MIB + 320 * 1024, MIB - 320 * 1024, 3)]
            check_equal(got, want, "nbdinfo --map")
            folder.qemu_img("convert", "-f", "raw", "-O", "qcow2", uri, "sparse.qcow2")
            check((folder.path / "sparse.qcow2").stat().st_size < 3 * MIB, "the copy has no holes")
        check(not (folder.path / "s").exists(), "the socket is left behind")


def test_serve_clients_write_the_image():
    with Folder("serve") as folder:
        pattern_image(folder)
        with server(folder, "-k", "s", "a.qcow2") as uri:
            folder.qemu_io("raw", uri, "write -P 1 5M 100k", "write -f -P 2 6M 4k",
                           "write -z 0 64k", "discard 512k 128k", "flush", "read -P 1 5M 100k",
                           "read -P 0 512k 128k")
            status, out, err = folder.run("nbdinfo", "--is", "read-only", uri)
            check_equal(status, 2, "nbdinfo --is read-only")
            status, _, err = folder.ours("write", 0, "a.qcow2", "want.raw")
            check(status != 0 and "in use" in err, f"a served image was opened for writing: {err}")
        folder.qemu_io("raw", "want.raw", "write -P 1 5M 100k", "write -P 2 6M 4k",
                       "write -z 0 64k", "write -z 512k 128k")
        folder.qemu_img("check", "-q", "a.qcow2")
        folder.qemu_img("compare", "-q", "-f", "qcow2", "-F", "raw", "a.qcow2", "want.raw")


def test_serve_nbdcopy_fills_an_image_by_several_connections():
    with Folder("serve") as folder:
        pattern_image(folder)
        folder.qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "b.qcow2", SIZE)
        with server(folder, "-k", "s", "b.qcow2") as uri:
            status, _, err = folder.run("nbdcopy", "--connections=4", "--flush", "want.raw", uri)
            check_equal((status, err), (0, ""), "nbdcopy")
        folder.qemu_img("check", "-q", "b.qcow2")
        folder.qemu_img("compare", "-q", "-f", "qcow2", "-F", "raw", "b.qcow2", "want.raw")


def test_serve_fio_verifies_what_it_wrote():
    with Folder("serve") as folder:
        folder.qemu_img("create", "-q", "-f", "qcow2", "a.qcow2", SIZE)
        with server(folder, "-k", "s", "a.qcow2") as uri:
            status, out, err = folder.run(
                "fio", "--name=w", "--ioengine=nbd", f"--uri={uri}", "--rw=randwrite", "--bs=4k",
                "--iodepth=8", f"--size={SIZE}", "--verify=crc32c", "--randseed=1",
                "--fsync=64", "--do_verify=1", "--verify_fatal=1", "--output-format=terse")
            check_equal(status, 0, f"fio: {out[-500:]}{err[-500:]}")
        folder.qemu_img("check", "-q", "a.qcow2")


def test_serve_snapshot_is_what_was():
    with Folder("serve") as folder:
        pattern_image(folder)
        folder.qemu_img("snapshot", "-c", "before", "a.qcow2")
        folder.qemu_io("qcow2", "a.qcow2", "write -P 99 0 2M")
        with server(folder, "-r", "-k", "s", "--snapshot", "before", "a.qcow2") as uri:
            check_equal(folder.run("nbdcopy", uri, "copy.raw")[0], 0, "nbdcopy")
        same(folder, "copy.raw", "want.raw")


def test_serve_overlay_leaves_the_image_alone():
    with Folder("serve") as folder:
        pattern_image(folder)
        before = (folder.path / "a.qcow2").read_bytes()
        with server(folder, "-k", "s", "--mode", "overlay", "a.qcow2") as uri:
            folder.qemu_io("raw", uri, "write -P 5 0 3M", "read -P 5 0 3M", "read -P 9 15M 300k")
        check((folder.path / "a.qcow2").read_bytes() == before, "the image has changed")


def test_serve_full_overlay_is_an_error_and_reads_go_on():
    with Folder("serve") as folder:
        pattern_image(folder)
        with server(folder, "-k", "s", "--mode", "overlay", "--overlay-size", "2M",
                    "a.qcow2") as uri:
            status, out, err = folder.run("qemu-io", "-f", "raw", "-c", "write 0 4M", uri)
            check(status != 0 and "No space" in out + err, f"writing went on: {out}{err}")
            folder.qemu_io("raw", uri, "read -P 9 15M 300k")


def test_serve_overlay_reads_a_passphrase_once():
    with Folder("serve") as folder:
        folder.qemu_img("create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=word", "-o",
                        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
                        "a.qcow2", "1M")
        with server(folder, "-k", "s", "--mode", "overlay", "--passphrase-file", "/dev/stdin",
                    "a.qcow2", given="word\n") as uri:
            folder.qemu_io("raw", uri, "write -P 5 0 4k", "read -P 5 0 4k")


def test_serve_overlay_has_the_size_of_the_snapshot():
    with Folder("serve") as folder:
        pattern_image(folder)
        folder.qemu_img("snapshot", "-c", "before", "a.qcow2")
        folder.qemu_img("resize", "-q", "a.qcow2", 2 * SIZE)
        for words, size in ((["--snapshot", "before"], SIZE), ([], 2 * SIZE)):
            with server(folder, "-k", "s", "--mode", "overlay", *words, "a.qcow2") as uri:
                check_equal(folder.run("nbdinfo", "--size", uri)[1].strip(), str(size), "size")
                folder.qemu_io("raw", uri, f"write -P 5 {size - 4096} 4k",
                               f"read -P 5 {size - 4096} 4k", "read -P 7 0 1M")


def replies_to(folder, requests):
    """The errors of the simple replies to requests."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(speed.stretch(10))
        client.connect(str(folder.path / "s"))
        client.sendall(HELLO)
        stream = client.makefile("rb")
        stream.read(18 + 20 + 12 + 20)  # greeting, and what the option is answered with
        errors = []
        for one in requests:
            client.sendall(one)
            errors.append(struct.unpack(">IIQ", stream.read(16))[1])
        return errors


def test_serve_goes_on_if_nobody_reads_its_messages():
    with Folder("serve") as folder:
        pattern_image(folder)
        with server(folder, "-k", "s", "--mode", "overlay", "--overlay-size", "1M",
                    "a.qcow2") as uri:
            folder.run("qemu-io", "-f", "raw", "-c", "write 0 2M", uri)
            errors = replies_to(folder, [request(1, 4 * MIB + n * 4096, 4096) + bytes(4096)
                                         for n in range(1500)])
            check(errors.count(28) > 1000, "the overlay was not full")
            check_equal(folder.run("nbdinfo", "--size", uri)[1].strip(), str(SIZE), "size")


def test_serve_raw_image_and_size_of_no_sector():
    with Folder("serve") as folder:
        (folder.path / "r.raw").write_bytes(bytes(range(256)) * 5 + b"xyz")
        with server(folder, "-r", "-k", "s", "-f", "raw", "r.raw") as uri:
            check_equal(folder.run("nbdinfo", "--size", uri)[1].strip(), "1283", "size")
            check_equal(folder.run("nbdcopy", uri, "copy.raw")[0], 0, "nbdcopy")
        same(folder, "copy.raw", "r.raw")


def test_serve_wrong_command_lines_are_refused():
    rows = [(["-p", "65536"], "65535"), (["-p", "x"], "65535"),
            (["-p", "1", "-k", "s"], "excludes"),
            (["--bind", "localhost"], "numeric"), (["--mode", "x"], "is none of ro, rw, overlay"),
            (["--mode", "overlay", "-r"], "exclude"), (["--mode", "rw", "-r"], "exclude"),
            (["--overlay-size", "2M"], "is for --mode overlay"),
            (["--overlay-size", "2M", "-r"], "is for --mode overlay"),
            (["--overlay-size", "2M", "--mode", "rw"], "is for --mode overlay"),
            (["--snapshot", "1"], "snapshot"),
            (["-k", "x" * 200], "socket"), (["-k", "a.qcow2"], "cannot listen"),
            (["-k", ""], "--socket needs a path"),
            (["--mode", "overlay", "--overlay-size", "4k"], "overlay")]
    with Folder("serve") as folder:
        pattern_image(folder)
        for words, text in rows:
            status, out, err = folder.ours("serve", *words, "a.qcow2")
            check(status == 1 and out == "" and text in err, f"{words}: {status} {err}")
        status, _, err = folder.ours("serve", "none.qcow2")
        check(status == 1 and "none.qcow2" in err, f"no file: {err}")


def test_serve_dead_servers_socket_is_replaced():
    with Folder("serve") as folder:
        pattern_image(folder)
        path = folder.path / "s"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        with server(folder, "-r", "-k", "s", "a.qcow2") as uri:
            check_equal(folder.run("nbdinfo", "--size", uri)[1].strip(), str(SIZE), "size")
            status, _, err = folder.ours("serve", "-r", "-k", "s", "a.qcow2")
            check(status == 1 and "cannot listen" in err, f"a second server took it: {err}")


def test_serve_place_that_is_taken_is_named():
    with Folder("serve") as folder, socket.socket() as other:
        pattern_image(folder)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        status, _, err = folder.ours("serve", "-r", "-p", port, "a.qcow2")
        check(status == 1 and f"127.0.0.1, port {port}: cannot listen there" in err, err)


def test_serve_socket_whose_server_is_overrun_is_not_waited_for():
    with Folder("serve") as folder, contextlib.ExitStack() as sockets:
        pattern_image(folder)
        busy = sockets.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(str(folder.path / "s"))
        busy.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                client = sockets.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(str(folder.path / "s"))
        status, _, err = folder.run("timeout", speed.stretch(10), METALCOW, "serve", "-r", "-k",
                                    "s", "a.qcow2")
        check(status == 1 and "cannot listen" in err, f"{status} {err}")


def test_serve_uri_leads_to_any_path():
    with Folder("serve") as folder:
        pattern_image(folder)
        with server(folder, "-r", "-k", "a b&c#d%41+é", "a.qcow2") as uri:
            check_equal(folder.run("nbdinfo", "--size", uri)[1].strip(), str(SIZE), "nbdinfo")
            folder.qemu_img("compare", "-q", "-f", "raw", "-F", "raw", uri, "want.raw")


def test_serve_signal_right_after_its_first_line_ends_it_in_order():
    with Folder("serve") as folder:
        pattern_image(folder)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) * 3:
            process = subprocess.Popen([str(METALCOW), "serve", "-k", "s", "a.qcow2"],
                                       cwd=folder.path, stdout=subprocess.PIPE)
            process.stdout.readline()
            process.send_signal(number)
            process.communicate(timeout=speed.stretch(30))
            check_equal(process.returncode, 0, f"the end by {number.name}")
            check(not (folder.path / "s").exists(), "the socket is left behind")


def option(number, data=b"", magic=b"IHAVEOPT", length=None):
    return magic + struct.pack(">II", number, len(data) if length is None else length) + data


def request(command, offset, length, flags=0, magic=0x25609513):
    return struct.pack(">IHHQQI", magic, flags, command, 7, offset, length)


HELLO = struct.pack(">I", 3) + option(7, bytes(6))

HOSTILE = {
    "nothing at all": b"",
    "garbage": b"GET / HTTP/1.1\r\n\r\n" * 20,
    "client flags": struct.pack(">I", 0xffffffff),
    "option magic": struct.pack(">I", 3) + option(7, magic=b"XHAVEOPT"),
    "option of 4 GiB": struct.pack(">I", 3) + option(7, length=0xffffffff),
    "garbage option": struct.pack(">I", 3) + option(0x7fffffff, b"\xff" * 1000),
    "half an option": struct.pack(">I", 3) + option(7, bytes(6))[:10],
    "name longer than the option": struct.pack(">I", 3) + option(7, b"\xff" * 6),
    "request magic": HELLO + request(1, 0, 512, magic=1) + b"A" * 512,
    "write outside": HELLO + request(1, SIZE - 100, 512) + b"A" * 512,
    "write far outside": HELLO + request(1, 2**64 - 512, 512) + b"A" * 512,
    "huge write": HELLO + request(1, 0, 0xffffffff) + b"A" * 4096,
    "huge read": HELLO + request(0, 0, 0xffffffff),
    "zeroes outside": HELLO + request(6, 0, 0xffffffff),
    "trim outside": HELLO + request(4, SIZE, 1),
    "unknown command": HELLO + request(77, 0, 512),
    "unknown flags": HELLO + request(1, 0, 512, flags=0xfff0) + b"A" * 512,
    "half a request": HELLO + request(1, 0, 512)[:15],
}


def test_serve_hostile_clients_change_nothing():
    with Folder("serve") as folder:
        pattern_image(folder)
        with server(folder, "-k", "s", "a.qcow2") as uri:
            for name, talk in HOSTILE.items():
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(speed.stretch(10))
                    client.connect(str(folder.path / "s"))
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        client.sendall(talk)
                        client.shutdown(socket.SHUT_WR)
                        while client.recv(65536):
                            pass
                check_equal(folder.run("nbdinfo", "--size", uri)[1].strip(), str(SIZE), name)
        folder.qemu_img("check", "-q", "a.qcow2")
        folder.qemu_img("compare", "-q", "-f", "qcow2", "-F", "raw", "a.qcow2", "want.raw")


def test_serve_client_that_vanishes_in_a_write_leaves_old_or_new_bytes():
    with Folder("serve") as folder:
        pattern_image(folder)
        with server(folder, "-k", "s", "a.qcow2") as uri:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(folder.path / "s"))
                client.sendall(HELLO + request(1, 0, 2 * MIB) + b"\x55" * (MIB + 1000))
            # The session has ended when another client can see it.
            deadline = time.monotonic() + speed.stretch(10)
            while folder.run("qemu-io", "-f", "raw", "-c", "read -P 85 0 1M", uri)[0] != 0:
                check(time.monotonic() < deadline, "the whole first piece is not there")
                time.sleep(0.1)
            folder.qemu_io("raw", uri, "read -P 0 1M 1M")
        folder.qemu_img("check", "-q", "a.qcow2")


def test_serve_more_clients_than_slots_wait():
    with Folder("serve") as folder:
        pattern_image(folder)
        with server(folder, "-r", "-k", "s", "a.qcow2") as uri:
            idle = []
            for _ in range(16):
                client = socket.socket(socket.AF_UNIX)
                client.connect(str(folder.path / "s"))
                client.sendall(HELLO)
                idle.append(client)
            late = subprocess.Popen(["nbdinfo", "--size", uri], stdout=subprocess.PIPE, text=True,
                                    cwd=folder.path)
            time.sleep(0.3)
            check_equal(late.poll(), None, "a client over the limit was served")
            for client in idle:
                client.close()
            output, _ = late.communicate(timeout=speed.stretch(30))
            check_equal(output.strip(), str(SIZE), "the late client")


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C")
    cases.main(globals())
