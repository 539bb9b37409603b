// Prints the rows of Parquet files as JSON, one array for each row, with a reader of npm: read.mjs READER FILE...
// Integers are texts, because numbers of JavaScript are exact only up to 2^53.
import { readFileSync } from 'node:fs'

const text = value => (value === null || value === undefined ? null : String(value))

async function hyparquet(path) {
  const { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } = await import('hyparquet')
  const { compressors } = await import('hyparquet-compressors')
  const file = await asyncBufferFromFile(path)
  const metadata = await parquetMetadataAsync(file)
  const names = metadata.schema.slice(1).map(column => column.name)
  const rows = await parquetReadObjects({ file, metadata, compressors })
  return rows.map(row => names.map(name => text(row[name])))
}

async function parquetWasm(path) {
  const { readParquet } = await import('parquet-wasm/node')
  const { tableFromIPC } = await import('apache-arrow')
  const table = tableFromIPC(readParquet(readFileSync(path)).intoIPCStream())
  const columns = table.schema.fields.map(field => table.getChild(field.name))
  return Array.from({ length: table.numRows }, (_, row) => columns.map(column => text(column.get(row))))
}

const readers = { hyparquet, 'parquet-wasm': parquetWasm }
const [reader, ...files] = process.argv.slice(2)
for (const file of files) {
  for (const row of await readers[reader](file)) process.stdout.write(JSON.stringify(row) + '\n')
}
