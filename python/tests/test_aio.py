"""AsyncClient, AsyncSession and AsyncStream, against a real service."""

import asyncio
import os
import unittest

from cellblock import AsyncClient, InvalidRequest, NotFound, Unavailable

from .service import HAS_PANDAS, PANDAS, ServiceTest


class AsyncTest(ServiceTest):
    def run_with_client(self, test):
        async def main():
            async with AsyncClient(self.client.address) as client:
                await test(client)

        asyncio.run(main())


class TestAsync(AsyncTest):
    def test_execute(self):
        async def test(client):
            result = await client.execute("print(open('in.txt').read())", input_files={"in.txt": b"given"})
            self.assertEqual(self.output(result), "given\n")
            with self.assertRaises(InvalidRequest):
                await client.execute("1", limits={"memory_mb": 1})
            self.assertEqual((await client.validate("import socket"))[1][0].message, "Blocked import detected: socket")
            self.assertIn("sessions", await client.stats())

        self.run_with_client(test)

    def test_session_and_files(self):
        async def test(client):
            async with await client.session() as session:
                await session.execute("x = 1")
                self.assertEqual((await session.execute("x"))["value"], "1")
                self.assertIn(session.id, [s["id"] for s in await client.sessions()])
                data = os.urandom(3 << 20)
                (self.place / "data").write_bytes(data)
                await session.upload(self.place / "data", "a/b c")
                self.assertEqual(await session.read("a/b c"), data)
                await session.write("whole", data)
                await session.download("whole", self.place / "copy")
                self.assertEqual((self.place / "copy").read_bytes(), data)
                self.assertEqual(sorted(f["path"] for f in await session.files()), ["a/b c", "whole"])
                await session.remove("whole")
                with self.assertRaises(NotFound):
                    await session.read("whole")
                attached = await client.attach(session.id)
                self.assertEqual((await attached.info())["state"], "idle")
            with self.assertRaises(NotFound):
                await session.execute("1")

        self.run_with_client(test)

    def test_many_at_once(self):
        async def test(client):
            results = await asyncio.gather(*(client.execute(f"print({i})") for i in range(12)))
            self.assertEqual([r["output"] for r in results], [f"{i}\n" for i in range(12)])

        self.run_with_client(test)

    def test_stream(self):
        async def test(client):
            async with await client.session() as session:
                async with await session.stream("for i in range(3): print(i, flush=True)\n7") as stream:
                    text = "".join([frame.text async for frame in stream])
                self.assertEqual((text, (await stream.result)["value"]), ("0\n1\n2\n", "7"))
                async with await session.stream("x = 1\nprint(1, flush=True)\nwhile True: pass") as stream:
                    async for _ in stream:
                        break
                self.assertEqual((await session.execute("x"))["value"], "1")
                async with await session.stream("print(1, flush=True)\nwhile True: pass") as stream:
                    async for _ in stream:
                        await session.interrupt()
                    # By its old name as well, which gave a coroutine.
                    told = await asyncio.create_task(stream.result())
                    self.assertEqual((told, told["exception"]["name"]), (await stream.result, "KeyboardInterrupt"))
                self.assertEqual((await session.last_result())["exception"]["name"], "KeyboardInterrupt")

        self.run_with_client(test)

    def test_a_cancelled_task_interrupts(self):
        async def test(client):
            async with await client.session() as session:
                await session.execute("x = 1")
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(session.execute("x = 2\nwhile True: pass"), 1)
                self.assertEqual((await session.execute("x"))["value"], "2")

        self.run_with_client(test)

    def test_no_service(self):
        async def test():
            with self.assertRaisesRegex(Unavailable, "no Cellblock service answers"):
                await AsyncClient(socket="/nowhere/socket").execute("1")

        asyncio.run(test())


@unittest.skipUnless(HAS_PANDAS, "this Python has no pandas")
class TestAsyncDataFrames(AsyncTest):
    packages = PANDAS

    def test_dataframes(self):
        import pandas

        async def test(client):
            async with await client.session() as session:
                frame = pandas.DataFrame({"a": [1, 2], "b": ["x", None]})
                await session.put_dataframe("df", frame)
                pandas.testing.assert_frame_equal(await session.get_dataframe("df"), frame)

        self.run_with_client(test)


if __name__ == "__main__":
    unittest.main()
