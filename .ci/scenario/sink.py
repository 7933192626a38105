"""An SMTP server on port 25 of 127.0.0.2 that takes no address without a full domain,
as relays do. sink.py DIR: each message becomes a file DIR/N, JSON with sender,
recipients and data; the addresses refused are lines of DIR/refused."""
import asyncio, json, os, re, sys

taken = 0


def save(message):
    global taken
    taken += 1
    path = f"{sys.argv[1]}/{taken}"
    with open(path + ".new", "w") as f:
        json.dump(message, f)
    os.rename(path + ".new", path)


async def session(reader, writer):
    try:
        await talk(reader, writer)
    except ConnectionError:
        pass
    writer.close()


async def talk(reader, writer):
    def say(line):
        writer.write(line.encode() + b"\r\n")

    message = {}
    say("220 relay.example.org ESMTP")
    while line := (await reader.readline()).decode("latin-1").strip():
        verb = line[:4].upper()
        address = re.search(r":\s*<([^>]*)>", line)
        if verb in ("MAIL", "RCPT"):
            address = address[1]
            if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", address) and (verb, address) != ("MAIL", ""):
                with open(sys.argv[1] + "/refused", "a") as f:
                    print(line, file=f)
                say(f"504 5.5.2 <{address}>: need a fully-qualified address")
                continue
            if verb == "MAIL":
                message = {"sender": address, "recipients": []}
            else:
                message["recipients"].append(address)
            say("250 2.1.0 Ok")
        elif verb == "DATA" and message.get("recipients"):
            say("354 End with a dot")
            lines = []
            while (data := (await reader.readline()).decode("latin-1")) not in (".\r\n", ""):
                lines.append(data.removeprefix(".").replace("\r\n", "\n"))
            save(message | {"data": "".join(lines)})
            say("250 2.0.0 Ok")
        elif verb == "QUIT":
            say("221 2.0.0 Bye")
            break
        else:
            say("250 Ok" if verb in ("EHLO", "HELO", "RSET", "NOOP") else "503 5.5.1 Not now")
    await writer.drain()


async def main():
    server = await asyncio.start_server(session, "127.0.0.2", 25)
    await server.serve_forever()


asyncio.run(main())
