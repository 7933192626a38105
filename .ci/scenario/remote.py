"""remote.py COMMAND...: runs the command in the emulated machine, with standard input and
output and the exit status as here. See remote.pl."""
import shlex, socket, sys

command = shlex.join(sys.argv[1:]).encode()
try:
    with socket.create_connection(("127.0.0.1", 7000), timeout=300) as peer:
        peer.sendall(b"%d\n" % len(command) + command + sys.stdin.buffer.read())
        peer.shutdown(socket.SHUT_WR)
        line, _, output = b"".join(iter(lambda: peer.recv(65536), b"")).partition(b"\n")
except OSError as err:
    sys.exit(f"no machine: {err}")
status, length = map(int, line.split())
sys.stdout.buffer.write(output[:length])
sys.stderr.buffer.write(output[length:])
sys.exit(status)
