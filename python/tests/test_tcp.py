"""Both clients over TCP, with a token."""

import asyncio
import hashlib
import os
import re
import subprocess
import unittest

from cellblock import AsyncClient, Client, Forbidden

from .service import BASE, ServiceTest


class TestTCP(ServiceTest):
    def setUp(self):
        super().setUp()
        made = subprocess.run([os.environ["CELLBLOCK_BIN"], "config", "token", "tester"], check=True, capture_output=True, text=True).stdout
        self.token = re.search(r"secret.*\n\s+(\S+)", made).group(1)
        tokens = self.place / "tokens"
        tokens.write_text(f"tester sha256:{hashlib.sha256(self.token.encode()).hexdigest()}\n")
        tokens.chmod(0o600)
        service = subprocess.Popen(
            [os.environ["CELLBLOCK_BIN"], "serve", "--lifeline", "--config", os.devnull, "--socket", "none",
             "--listen", "127.0.0.1:0", "--tokens", str(tokens), "--python", BASE],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.addCleanup(service.stderr.close)
        self.addCleanup(service.wait, 30)
        self.addCleanup(service.stdin.close)
        said = ""
        for line in service.stderr:
            said += line
            if "ready" in line:
                break
        found = re.search(r"tcp:(127\.0\.0\.1:\d+)", said)
        self.assertTrue(found, said)
        self.url = "http://" + found.group(1)

    def test_both_clients(self):
        with Client(self.url, token=self.token) as client, client.session() as session:
            with session.stream("for i in range(3): print(i)") as stream:
                self.assertEqual("".join(f.text for f in stream), "0\n1\n2\n")
            data = os.urandom(1 << 20)
            session.write("data", data)
            self.assertEqual(session.read("data"), data)
            self.assertEqual(client.stats()["sessions"], 1)

        async def main():
            async with AsyncClient(self.url, token=self.token) as client, await client.session() as session:
                self.assertEqual((await session.execute("6 * 7"))["value"], "42")

        asyncio.run(main())
        for token in (None, "wrong"):
            with Client(self.url, token=token) as client, self.assertRaises(Forbidden):
                client.execute("1")
            with self.assertRaises(Forbidden):
                asyncio.run(self.refused(token))

    async def refused(self, token):
        async with AsyncClient(self.url, token=token) as client:
            await client.execute("1")


if __name__ == "__main__":
    unittest.main()
