"""Checks Paramiko as the client of a pgod that runs a talker.

with_paramiko.py PORT KNOWN_HOSTS KEY_FILE SERVICE
"""
import sys

import paramiko

port, known_hosts, key_file, service = sys.argv[1:]


def equal(got, want):
    if got != want:
        raise SystemExit(f"{got!r} is not {want!r}")


def refused(error, attempt):
    try:
        attempt()
    except error:
        return
    raise SystemExit(f"nothing was refused with {error}")


def connect(**how):
    client = paramiko.SSHClient()
    client.load_host_keys(known_hosts)
    client.connect("127.0.0.1", int(port), "paramiko", allow_agent=False, look_for_keys=False, timeout=30, **how)
    return client


def run(line, stdin=b""):
    writer, reader, errors = client.exec_command(line)
    writer.write(stdin)
    writer.channel.shutdown_write()
    out, err = reader.read(), errors.read()
    return reader.channel.recv_exit_status(), out, err


client = connect(key_filename=key_file)

status, out, err = run(f"{service}//ping")
equal((status, out[:6], err), (0, b"pong! ", b""))

# Input arrives byte for byte, and so does its end.
everything = bytes(range(256)) * 4096
equal(run(f"{service}//exec talker cat", everything), (0, everything, b""))

# Output and errors are separate, and the status is the program's, or pgo's own.
equal(run(f"{service}//exec talker sh -c 'echo out; echo oops >&2; exit 3'"), (3, b"out\n", b"oops\n"))
equal(run(f"{service}//ping loudly")[:2], (400, b""))

# A terminal has a size, which changes, and takes input.
channel = client.get_transport().open_session()
channel.get_pty("vt100", width=101, height=37)
channel.exec_command(f"{service}//exec talker sh")
terminal = channel.makefile("rb")
channel.sendall("echo $TERM\n")
lines = []
while b"vt100\r\n" not in lines:
    lines.append(terminal.readline())
# The engine takes a size only when the program runs, so that may have begun without one.
while lines[-1] != b"37 101\r\n":
    channel.sendall("busybox stty size\n")
    lines.append(terminal.readline())
channel.resize_pty(width=55, height=22)
while lines[-1] != b"22 55\r\n":
    channel.sendall("busybox stty size\n")
    lines.append(terminal.readline())
channel.sendall("exit 7\n")
terminal.read()
equal(channel.recv_exit_status(), 7)

# What pgo does not have.
refused(paramiko.ChannelException, lambda: client.get_transport().open_channel("direct-tcpip", ("127.0.0.1", 22), ("127.0.0.1", 1)))
refused(paramiko.SSHException, client.open_sftp)
refused(paramiko.SSHException, lambda: client.get_transport().request_port_forward("127.0.0.1", 0))
shell = client.invoke_shell()
equal((shell.makefile_stderr("rb").read()[:16], shell.recv_exit_status()), (b"pgo has no shell", 400))
refused(paramiko.AuthenticationException, lambda: connect(password="open sesame"))
client.close()
