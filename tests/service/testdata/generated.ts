// Uses the client that @hey-api/openapi-ts makes of /openapi.json. It is type-checked
// before it runs: what is used here of an answer, the document promises.
import assert from 'node:assert/strict'
import { createClient } from './client/client'
import {
  createSession, deleteFile, deleteSession, execute, executeInSession, getSession, interruptSession, listFiles, listSessions, readFile, stats,
  validate, writeFile, type Frame, type Problem, type Result, type SessionInfo,
} from './client'

const client = createClient({ baseUrl: process.env.SERVICE_URL, auth: () => process.env.SERVICE_TOKEN })

async function main() {
  const made = await createSession({ client, body: { id: 'gen', limits: { memory: '128M', workspace_size: 4 << 20, timeout: 20 } } })
  const info: SessionInfo | undefined = made.data
  assert.equal(info?.id, 'gen', JSON.stringify(made.error))
  assert.equal(info?.limits.memory_bytes, 128 << 20)
  assert.equal(info?.preload.length, 0)

  const path = { id: 'gen' }
  const ran = await executeInSession({ client, path, body: { code: 'x = 6\nprint("héllo")\nx * 7', input_files: [{ name: 'in.txt', content_base64: btoa('in') }] } })
  const result: Result | undefined = ran.data
  assert.equal(result?.value, '42', JSON.stringify(ran.error))
  assert.equal(result?.output, 'héllo\n')
  assert.equal(result?.exception, null)
  assert.equal(result?.namespace.x.value, '6')

  const raised = await executeInSession({ client, path, body: { code: 'x / 0' } })
  assert.equal(raised.data?.exception?.name, 'ZeroDivisionError')
  assert.equal(raised.data?.success, false)

  // Frames, one a line, as they come.
  const streamed = await executeInSession({ client, path, body: { code: 'print(x)' }, headers: { Accept: 'application/x-ndjson' }, parseAs: 'text' })
  const frames = String(streamed.data).trim().split('\n').map((line) => JSON.parse(line) as Frame)
  assert.deepEqual(frames.map((f) => f.kind), ['stdout', 'result', 'end'])
  assert.equal(frames[0].text, '6\n')

  const bytes = new Uint8Array(70000).map((_, i) => i * 7)
  for (const name of ['data.bin', 'sub dir/ü#?.bin']) {
    const file = { id: 'gen', path: name }
    const put = await writeFile({ client, path: file, body: new Blob([bytes]) })
    assert.equal(put.response?.status, 204, JSON.stringify(put.error))
    const got = await readFile({ client, path: file })
    assert.ok(got.data instanceof Blob, JSON.stringify(got.error))
    assert.deepEqual(new Uint8Array(await got.data.arrayBuffer()), bytes)
    const part = await readFile({ client, path: file, headers: { Range: 'bytes=10-19' } })
    assert.equal(part.response?.status, 206)
    assert.deepEqual(new Uint8Array(await (part.data as Blob).arrayBuffer()), bytes.slice(10, 20))
  }
  const list = await listFiles({ client, path })
  assert.deepEqual(list.data?.files.map((f) => [f.path, f.size]).sort(), [['data.bin', 70000], ['in.txt', 2], ['sub dir/ü#?.bin', 70000]])
  assert.equal((await deleteFile({ client, path: { id: 'gen', path: 'data.bin' } })).response?.status, 204)

  // A problem is typed, too.
  const missing = await readFile({ client, path: { id: 'gen', path: 'data.bin' } })
  const problem: Problem | undefined = missing.error
  assert.equal(problem?.kind, 'not-found')
  assert.equal(problem?.status, 404)
  const bad = await createSession({ client, body: { limits: { pids: -1 } } })
  assert.equal(bad.error?.kind, 'invalid')
  assert.match(bad.error?.errors?.[0].location ?? '', /pids/)
  const stranger = await stats({ baseUrl: process.env.SERVICE_URL })
  assert.equal(stranger.error?.kind, 'unauthorized')

  assert.equal((await validate({ client, body: { code: 'import socket' } })).data?.issues[0].name, 'socket')
  assert.equal((await execute({ client, body: { code: 'print(1)', session_id: 'other', limits: { pids: 20 } } })).data?.output, '1\n')
  assert.deepEqual((await listSessions({ client })).data?.sessions.map((s) => s.id).sort(), ['gen', 'other'])
  assert.equal((await stats({ client })).data?.sessions, 2)
  assert.equal((await interruptSession({ client, path })).response?.status, 204)
  for (const id of ['gen', 'other']) assert.equal((await deleteSession({ client, path: { id } })).response?.status, 204)
  assert.equal((await getSession({ client, path })).error?.kind, 'not-found')
  console.log('ok')
}

main()
