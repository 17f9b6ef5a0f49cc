// node-postgres: parameters, named prepared statements, transactions, pools, cursors, streams, COPY.
'use strict'

const { Readable } = require('stream')
const { pipeline } = require('stream/promises')
const { Client, Pool, types } = require('pg')
const Cursor = require('pg-cursor')
const QueryStream = require('pg-query-stream')
const { from: copyFrom, to: copyTo } = require('pg-copy-streams')

const config = {
  connectionString: process.env.DATABASE_URL,
  options: `-c search_path=${process.env.TENANT}`,
}
const show = (title, ...values) => console.log(title, ...values.map((value) => JSON.stringify(value)))

// The fields of an error that a program can read.
const fields = ['code', 'message', 'detail', 'hint', 'position', 'schema', 'table', 'column', 'constraint', 'dataType']
async function failure(title, work) {
  try {
    await work()
    show(title, 'no error')
  } catch (error) {
    show(title, error.name, ...fields.map((field) => error[field]))
  }
}

function described(result) {
  return [result.command, result.rowCount, result.fields.map((f) => [f.name, f.dataTypeSize, f.format]), result.rows]
}

async function queries(client) {
  await client.query(`CREATE TYPE kind AS ENUM ('a', 'b');
    CREATE TABLE items (id serial PRIMARY KEY, name text NOT NULL UNIQUE, n int, price numeric(8, 2), at timestamptz,
      data jsonb, tags text[], kind kind, raw bytea, ok boolean, big bigint, d date)`)
  const values = ['first', 1, '9.99', new Date(Date.UTC(2024, 0, 2)), { a: [1, null] }, ['x', 'y "z"'], 'b',
    Buffer.from([0, 255, 10]), true, '9007199254740993', '2024-02-29']
  const insert = `INSERT INTO items (name, n, price, at, data, tags, kind, raw, ok, big, d)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING *`
  show('insert', ...described(await client.query(insert, values)))
  show('nulls', ...described(await client.query(insert, ['second', ...Array(10).fill(null)])))
  show('several', (await client.query('SELECT 1 AS one FROM items; UPDATE items SET n = 5; SELECT count(*) FROM items'))
    .map(described))
  show('array mode', (await client.query({ text: 'SELECT id, name FROM items ORDER BY id', rowMode: 'array' })).rows)
  show('any', (await client.query('SELECT name FROM items WHERE id = ANY ($1) ORDER BY id', [[1, 2]])).rows)
  show('json', (await client.query("SELECT data -> 'a' AS a FROM items WHERE data @> $1", [{ a: [1] }])).rows)
  show('empty', ...described(await client.query('')))
  await failure('unique', () => client.query(insert, values))
  await failure('not null', () => client.query('INSERT INTO items (n) VALUES ($1)', [1]))
  await failure('cast', () => client.query('SELECT * FROM items WHERE id = $1', ['x']))
  await failure('count', () => client.query('SELECT * FROM items WHERE id = $1', []))
  await failure('syntax', () => client.query('SELECT * FRM items'))
  await failure('column', () => client.query('SELECT name, nothing FROM items'))
}

async function prepared(client) {
  for (const id of [1, 2, 1, 3]) {
    show('prepared', (await client.query({ name: 'by-id', text: 'SELECT id, name FROM items WHERE id = $1', values: [id] })).rows)
  }
  await client.query('ALTER TABLE items ADD COLUMN later int DEFAULT 3')
  show('after alter', (await client.query({ name: 'by-id', text: 'SELECT id, name FROM items WHERE id = $1', values: [1] })).rows)
  show('update', (await client.query({ name: 'up', text: 'UPDATE items SET n = n + $1', values: [1] })).rowCount)
  const many = await Promise.all(Array.from({ length: 20 }, (_, i) => client.query('SELECT $1::int + count(*)::int AS n FROM items', [i])))
  show('queued', many.map((result) => result.rows[0].n))
  await failure('prepared error', () => client.query({ name: 'bad', text: 'SELECT 1 / (id - $1) FROM items', values: [1] }))
  show('still', (await client.query({ name: 'by-id', text: 'SELECT id, name FROM items WHERE id = $1', values: [2] })).rows)
}

async function transactions(client, pool) {
  await client.query('BEGIN')
  await client.query("INSERT INTO items (name) VALUES ('in block')")
  await client.query('SAVEPOINT s')
  await failure('in block', () => client.query("INSERT INTO items (name) VALUES ('in block')"))
  await failure('aborted', () => client.query('SELECT 1'))
  await client.query('ROLLBACK TO s')
  show('inside', (await client.query('SELECT count(*) FROM items')).rows)
  show('outside', (await pool.query('SELECT count(*) FROM items')).rows)
  show('commit', (await client.query('COMMIT')).command)
  show('outside', (await pool.query('SELECT count(*) FROM items')).rows)
  await client.query('BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY')
  await failure('read only', () => client.query('DELETE FROM items'))
  show('rollback', (await client.query('COMMIT')).command)
  const clients = await Promise.all([1, 2, 3].map(() => pool.connect()))
  const results = await Promise.all(clients.map((c, i) => c.query('UPDATE items SET n = $1 WHERE id = 1 RETURNING id', [i])))
  show('pooled', results.map((result) => result.rows))
  clients.forEach((c) => c.release())
}

async function cursors(client) {
  const text = 'SELECT i, items.name FROM items, generate_series(1, $1::int) i WHERE id = 1 ORDER BY i'
  const cursor = client.query(new Cursor(text, [25]))
  show('read', await cursor.read(10))
  show('read', (await cursor.read(10)).length, (await cursor.read(10)).length, (await cursor.read(10)).length)
  await cursor.close()
  const early = client.query(new Cursor(text, [1000]))
  show('early', (await early.read(3)).length)
  await early.close()
  let count = 0
  for await (const row of client.query(new QueryStream(text, [2500], { batchSize: 100 }))) count += row.i
  show('streamed', count)
  const failing = client.query(new Cursor('SELECT 1 / (i - 15) FROM items, generate_series(1, 20) i WHERE id = $1', [1]))
  show('before', (await failing.read(10)).length)
  await failure('cursor error', () => failing.read(10))
  show('usable', (await client.query('SELECT count(*) FROM items')).rows)
}

async function copies(client) {
  await client.query('CREATE TABLE loaded (id int PRIMARY KEY, v text)')
  const lines = Array.from({ length: 5000 }, (_, i) => `${i}\tvalue ${i}\n`)
  await pipeline(Readable.from(lines), client.query(copyFrom('COPY loaded FROM STDIN')))
  show('loaded', (await client.query('SELECT count(*), sum(id) FROM loaded')).rows)
  await failure('copy error', () => pipeline(Readable.from(['1\tdup\n']), client.query(copyFrom('COPY loaded FROM STDIN'))))
  const out = client.query(copyTo('COPY (SELECT * FROM loaded ORDER BY id) TO STDOUT (FORMAT csv)'))
  let text = ''
  for await (const chunk of out) text += chunk
  show('unloaded', text.length, text.split('\n').slice(0, 2))
  show('usable', (await client.query('SELECT count(*) FROM loaded')).rows)
}

async function messages(client) {
  client.on('notice', (notice) => show('notice', notice.severity, notice.message, notice.code))
  await client.query(`CREATE FUNCTION talk() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE NOTICE '% of %', TG_OP, NEW.name; RETURN NEW; END $$`)
  await client.query('CREATE TRIGGER talk BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION talk()')
  show('updated', (await client.query('UPDATE items SET n = 0 WHERE id = $1', [1])).rowCount)
}

async function main() {
  types.setTypeParser(types.builtins.DATE, (text) => text)
  const client = new Client(config)
  await client.connect()
  const pool = new Pool({ ...config, max: 4 })
  for (const part of [queries, prepared, transactions, cursors, copies, messages]) {
    console.log('==', part.name)
    await part(client, pool)
  }
  await pool.end()
  await client.end()
  console.log('== the end')
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
