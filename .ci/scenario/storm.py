"""A storm: IMAP sessions of one account, so many a second, for so many seconds, and
longer if they aren't 100 at a time by then, while mail is delivered to it.
storm.py USER RATE SECONDS; sends messages of the kind storm, and prints how many were
sent, and how long each wave of sessions was at or over the limit of 100."""
import socket, subprocess, sys, time
import mbox

user, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])


def sessions():
    found = subprocess.run(["pgrep", "-c", "-u", user, "-x", "imap"], capture_output=True, text=True)
    return int(found.stdout)


def deliver(n):
    subprocess.run(["/usr/sbin/sendmail", "-i", "-f", "harpo", user], input=mbox.message(f"storm-{n}"), text=True, check=True)


def login():
    s = socket.create_connection(("127.0.0.1", 10143), timeout=5)
    s.sendall(f"a login {user} duck\r\nb select inbox\r\nc store 1:* +flags (\\Seen)\r\n".encode())
    return s


begun = time.monotonic()
opened, sent, looked, over, waves, most, failed = [], 0, 0.0, None, [], 0, 0
while True:
    now = time.monotonic() - begun
    # On a busy machine it takes longer until there are enough at a time.
    storming = now <= seconds or not waves and over is None and now <= 6 * seconds
    if not storming and over is None or now > 7 * seconds:
        break
    if storming and len(opened) < now * rate:
        try:
            opened.append(login())
        except OSError:
            opened.append(None)
            failed += 1
    if storming and sent < min(now, seconds) * 3:
        deliver(sent)
        sent += 1
    if now - looked > 0.1:
        looked, count = now, sessions()
        most = max(most, count)
        if count >= 100 and over is None:
            over = now
        elif over is not None and count < 20:
            waves.append(now - over)
            over = None
    time.sleep(0.005)
print(sent, f"{len(opened) - failed} sessions in {now:.0f} s, {most} at most at a time; "
      f"from the 100th session to the last one gone: {', '.join(f'{w:.1f} s' for w in waves) or 'never'}",
      sep="\n")
for s in opened:
    if s is not None:
        s.close()
sys.exit(0 if waves and over is None else 1)
