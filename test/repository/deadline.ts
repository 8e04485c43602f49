// Loaded before each test file: one that does not end by itself is ended, and says what kept it. node:test bounds a
// test, not a file whose tests are over while a socket, a timer or a worker is still open.

const limitMs = Number(process.env['WEFT_FILE_LIMIT_MS'] ?? 300_000)

setTimeout(() => {
  const open = [...new Set(process.getActiveResourcesInfo())].join(', ')
  console.error(`${process.argv[1]} has not ended after ${limitMs / 1000} s; open: ${open}`)
  process.exit(1)
}, limitMs).unref()
