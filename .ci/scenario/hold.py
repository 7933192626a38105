"""hold.py CGROUP.PROCS UID: waits until a killstorm in that control group, which may
come later, has sent one of the account's processes a SIGSTOP; then it stops killstorm
itself and prints its PID, so that the storm's end lasts until that is resumed. A minute
at most."""
import glob, os, re, signal, sys, time

members, uid = sys.argv[1], int(sys.argv[2])
until = time.monotonic() + 60


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


def owned(directory):
    try:
        return os.stat(directory).st_uid == uid
    except OSError:
        return False


def is_stopped(status):
    """On a busy machine it takes a while from the signal, which is pending, to the state."""
    text = read(status)
    pending = re.search(r"^ShdPnd:\s*(\w+)", text, re.M)
    return "\nState:\tT" in text or pending is not None and int(pending[1], 16) >> signal.SIGSTOP - 1 & 1


processes = [f"{d}/status" for d in glob.glob("/proc/[0-9]*") if owned(d)][:20]
print("ready", flush=True)
killstorm = None
while killstorm is None and time.monotonic() < until:
    killstorm = next((int(p) for p in read(members).split() if read(f"/proc/{p}/comm") == "killstorm\n"), None)
    time.sleep(0.001)
while killstorm and time.monotonic() < until:
    if any(map(is_stopped, processes)):
        os.kill(killstorm, signal.SIGSTOP)
        print(killstorm)
        sys.exit()
    time.sleep(0.0002)
sys.exit("no process was stopped" if killstorm else "no killstorm")
