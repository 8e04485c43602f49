import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Line, part, textOf } from './line.ts'
import { type AccessRecord, CoursePart, type Entry, JsonRecords, recordOf } from './record.ts'

/** One character a byte, as a head's texts come; hostile ones more often than chance has them. */
const sent = fc.oneof(
  fc.string({ unit: fc.integer({ min: 0, max: 0xff }).map((code) => String.fromCharCode(code)), maxLength: 40 }),
  fc.string({ unit: fc.constantFrom('"', '\\', '\r', '\n', '\0', '\x7f', '\x1b', 'é', 'a', '/', ' ') }),
  fc.string({ unit: 'grapheme' }).map((text) => Buffer.from(text).toString('latin1')),
  fc.string({ minLength: 5000, maxLength: 9000 }),
)
const ours = fc.option(fc.string({ unit: 'grapheme', maxLength: 20 }))
const count = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constantFrom(0, 9, 10, 99, 100, 999_999, 1_000_000))
const asked = fc.record({
  ...{ method: sent, target: sent, authority: sent, requestId: sent, minor: fc.constantFrom(0, 1) },
  ...{ userAgent: fc.option(sent), forwardedFor: fc.option(sent) },
})
const entry = fc.record({
  connection: fc
    .record({
      ...{ downstream_local_address: ours, downstream_remote_address: ours, requested_server_name: fc.constant(null) },
      ...{ weft_direction: fc.constantFrom('inbound', 'outbound'), weft_source_workload: ours },
    })
    .map((fields) => ({ fields, text: textOf(fields) })),
  course: fc
    .record({ upstream_host: ours, upstream_cluster: ours, route_name: ours, weft_destination_workload: ours })
    .map((fields) => new CoursePart(fields)),
  outcome: fc
    .record({
      ...{ response_flags: fc.constantFrom('-', 'UH', 'DI,UF'), response_code_details: ours, weft_message: ours },
      ...{ connection_termination_details: ours, upstream_transport_failure_reason: ours, weft_reason: ours },
    })
    .map(part),
  upstreamLocal: fc.record({ upstream_local_address: ours }).map(part),
  ...{ startedMs: fc.integer({ min: 0, max: 4e12 }), durationMs: count, serviceMs: fc.option(count) },
  ...{ status: fc.nat(999), receivedBytes: count, sentBytes: count, snapshot: count },
  headers: fc.constant(null),
})

function written(records: JsonRecords, line: Line, entry: Entry): string {
  line.clear()
  records.write(line, entry)
  return line.bytes.toString('latin1', 0, line.length)
}

test('what is written is one line of ASCII that reads back as the record, whatever a peer sent', () => {
  const [records, line] = [new JsonRecords(), new Line()]
  fc.assert(
    fc.property(fc.array(fc.tuple(entry, fc.option(asked), fc.boolean())), (entries) => {
      let before: Entry['asked'] = null
      for (const [each, other, again] of entries) {
        const whole: Entry = {
          ...each,
          asked: again && before !== null ? { ...before, target: '/again' } : other,
        }
        const text = written(records, line, whole)
        assert.match(text, /^[\x20-\x7e]*\n$/)
        assert.deepEqual(JSON.parse(text) as AccessRecord, recordOf(whole))
        before = whole.asked
      }
    }),
  )
})

test('bytes of a request are read as UTF-8 where they are that, else as Latin-1, and end no line', () => {
  const [records, line] = [new JsonRecords(), new Line()]
  const [sample] = fc.sample(entry, 1)
  const path = (target: string): string | null => {
    const asked = {
      method: 'GET',
      target,
      authority: 'a',
      requestId: 'r',
      minor: 1,
      userAgent: null,
      forwardedFor: null,
    }
    return (JSON.parse(written(records, line, { ...sample!, asked })) as AccessRecord).path
  }
  assert.equal(path(Buffer.from('/schön').toString('latin1')), '/schön')
  assert.equal(path('/sch\xf6n'), '/schön')
  assert.equal(path('/"}\r\n{"response_code":200}'), '/"}\r\n{"response_code":200}')
})
