"""Pages of 1000 moving series on as many ports as asked for: `python scrape_targets.py 20` prints the ports as JSON."""

import asyncio
import json
import random
import sys


class Page:
    """A template of a page and the values that go in, which move at every scrape."""

    def __init__(self, seed):
        self._random = random.Random(seed)
        lines = ["# HELP requests_total Requests.", "# TYPE requests_total counter"]
        lines += [f'requests_total{{handler="/h{h}",method="{m}",code="{c}"}} %d'
                  for h in range(50) for m in ("GET", "POST") for c in (200, 304, 404, 500, 503)]
        lines += ["# HELP latency_seconds Latency.", "# TYPE latency_seconds histogram"]
        lines += [f'latency_seconds_bucket{{handler="/h{h}",le="{le}"}} %d'
                  for h in range(50) for le in (0.01, 0.1, 0.5, 1, "+Inf")]
        lines += ["# HELP depth Depth.", "# TYPE depth gauge"]
        lines += [f'depth{{queue="q{n}"}} %.2f' for n in range(250)]
        self._template = "\n".join(lines) + "\n"
        self._values = [self._random.randrange(10**6) for _ in range(1000)]

    def render(self):
        """The next page."""
        self._values = [value + self._random.randrange(50) for value in self._values]
        return (self._template % tuple(self._values)).encode()


async def main(count):
    async def listen(page):
        async def answer(reader, writer):
            try:
                while await reader.readuntil(b"\r\n\r\n"):
                    body = page.render()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n")
                    writer.write(b"Content-Length: %d\r\n\r\n" % len(body))
                    writer.write(body)
                    await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        servers.append(server)
        return server.sockets[0].getsockname()[1]

    servers = []
    ports = [await listen(Page(seed)) for seed in range(count)]
    print(json.dumps(ports), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
