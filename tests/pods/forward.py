"""Answers on every address of this network namespace at PORT with what answers at a
socket in the file system: PostgreSQL, which listens in no other namespace.

    forward.py PORT SOCKET
"""

import asyncio
import sys


async def pour(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def serve(port, socket):
    async def meet(reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(socket)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pour(reader, far_writer), pour(far_reader, writer))

    server = await asyncio.start_server(meet, "0.0.0.0", port)
    await server.serve_forever()


asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
