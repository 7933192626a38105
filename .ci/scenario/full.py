"""Fills all that is left of the process table with processes called imapd, which
start others as soon as there is room. full.py UID SECONDS; all of it ends by then."""
import ctypes, os, sys, time

uid, seconds = int(sys.argv[1]), float(sys.argv[2])
end = time.monotonic() + seconds
os.setgid(uid)
os.setuid(uid)
ctypes.CDLL(None).prctl(15, b"imapd", 0, 0, 0)
while time.monotonic() < end:
    try:
        if os.fork() == 0:
            continue
    except OSError:
        pass
    time.sleep(0.02)
