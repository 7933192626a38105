"""Messages that say what they hold, and what an mbox has of them.

mbox.py fill PATH COUNT
    writes an mbox of the messages first-0 to first-(COUNT-1).
mbox.py check PATH [KIND=COUNT]...
    fails unless each message in the mbox is whole and there once, and those of a KIND are
    just KIND-0 to KIND-(COUNT-1). Without "=COUNT" none but the last of them may be missing.

Scenarios have it as a module, too: PYTHONPATH is the directory of this file.
"""
import hashlib, imaplib, random, sys, time


def message(name):
    """returns the message of that name. Its subject is the name's kind, what is before the first hyphen."""
    random.seed(name)
    body = "".join(f"{random.getrandbits(200):050x} why a duck\n" for _ in range(random.randrange(5, 200)))
    return (f"From: chico@moscow\nTo: groucho@moscow\nSubject: {name.split('-')[0]}\nX-Id: {name}\n"
            f"X-Sum: {hashlib.md5(body.encode()).hexdigest()}\n\n{body}\n")


def login(select=True):
    """returns a session of groucho's at the scenario's Dovecot"""
    for attempt in range(10):
        imap = imaplib.IMAP4("127.0.0.1", 10143, timeout=60)
        try:
            imap.login("groucho", "duck")
            break
        except imaplib.IMAP4.error as refused:  # a busy machine's login may take too long for Dovecot
            if attempt == 9 or "UNAVAILABLE" not in str(refused):
                raise
            time.sleep(1)
    if select:
        imap.select("INBOX")
    return imap


def append(imap, name):
    ok, _ = imap.append("INBOX", None, None, message(name).replace("\n", "\r\n").encode())
    assert ok == "OK", "append"


def names(path):
    """returns the names in an mbox; a message that is torn or there twice ends the program"""
    found, text = [], open(path, "rb").read()
    if text and not text.startswith(b"From "):
        sys.exit(f"{path}: doesn't begin with a message")
    for n, part in enumerate((b"\n" + text).split(b"\nFrom ")[1:]):
        head, _, body = part.partition(b"\n\n")
        fields = dict(line.split(b": ", 1) for line in head.split(b"\n")[1:] if b": " in line)
        if n == 0 and fields.get(b"Subject", b"").startswith(b"DON'T DELETE THIS MESSAGE"):
            continue  # Dovecot's own
        body = body.replace(b"\r\n", b"\n").rstrip(b"\n") + b"\n"
        if hashlib.md5(body).hexdigest() != fields.get(b"X-Sum", b"").decode():
            sys.exit(f"{path}: message {n} {fields.get(b'X-Id') or head[:60]} is torn: "
                     f"{len(body)} bytes and {body.count(0)} zeros, {len(text)} in all")
        found.append(fields[b"X-Id"].decode())
    twice = {name for name in found if found.count(name) > 1} if len(set(found)) < len(found) else ()
    if twice:
        sys.exit(f"{path}: twice: {' '.join(twice)}")
    return found


def check(path, *wants):
    found = names(path)
    for want in wants:
        kind, _, count = want.partition("=")
        have = {name for name in found if name.startswith(kind + "-")}
        missing = {f"{kind}-{n}" for n in range(int(count or len(have)))} - have
        if missing or count and len(have) != int(count):
            sys.exit(f"{path}: {len(have)} messages where {want} is expected; missing: {sorted(missing)}")
    return found


def fill(path, count):
    with open(path, "w") as f:
        for n in range(int(count)):
            f.write("From chico@moscow Tue Apr 25 00:00:00 2000\n" + message(f"first-{n}"))


if __name__ == "__main__":
    {"fill": fill, "check": check}[sys.argv[1]](*sys.argv[2:])
