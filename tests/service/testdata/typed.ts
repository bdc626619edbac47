// Uses openapi-fetch with the types that openapi-typescript makes of /openapi.json.
import assert from 'node:assert/strict'
import createClient from 'openapi-fetch'
import type { components, paths } from './types'

const client = createClient<paths>({ baseUrl: process.env.SERVICE_URL, headers: { Authorization: `Bearer ${process.env.SERVICE_TOKEN}` } })
const raw = (body: unknown) => body as Blob

async function main() {
  const made = await client.POST('/v1/sessions', { body: { id: 'typed', limits: { memory: '128M' } } })
  assert.equal(made.data?.id, 'typed', JSON.stringify(made.error))
  const params = { path: { id: 'typed' } }
  const ran = await client.POST('/v1/sessions/{id}/execute', { params, body: { code: 'x = 6\nx * 7' } })
  const result = ran.data as components['schemas']['Result'] | undefined
  assert.equal(result?.value, '42', JSON.stringify(ran.error))

  const file = { path: { id: 'typed', path: 'sub/data.bin' } }
  const headers = { 'Content-Type': 'application/octet-stream' }
  const put = await client.PUT('/v1/sessions/{id}/files/{path}', { params: file, headers, body: 'a,b\n', bodySerializer: raw })
  assert.equal(put.response.status, 204, JSON.stringify(put.error))
  const got = await client.GET('/v1/sessions/{id}/files/{path}', { params: file, parseAs: 'text' })
  assert.equal(got.data, 'a,b\n')
  const list = await client.GET('/v1/sessions/{id}/files', { params })
  assert.deepEqual(list.data?.files.map((f) => f.path), ['sub/data.bin'])
  assert.equal((await client.DELETE('/v1/sessions/{id}', { params })).response.status, 204)
  const gone = await client.GET('/v1/sessions/{id}', { params })
  assert.equal(gone.error?.kind, 'not-found')
  console.log('ok')
}

main()
