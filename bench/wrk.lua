-- SPDX-License-Identifier: Apache-2.0
-- For wrk: asks with METHOD and a body of LENGTH bytes, and prints what came of it as a line of JSON.
--
--   wrk … -s wrk.lua URL METHOD LENGTH [COUNT]
--
-- With COUNT the numbers from 0 to COUNT - 1 are appended to the URL, in turns.

function init(args)
   wrk.method = args[1]
   local length = tonumber(args[2])
   if length > 0 then
      wrk.headers["Content-Type"] = "application/octet-stream"
      wrk.body = string.rep("b", length)
   end
   local count = tonumber(args[3] or "1")
   if count > 1 then
      local requests, at = {}, 0
      for i = 1, count do
         requests[i] = wrk.format(nil, wrk.path .. (i - 1))
      end
      request = function()
         at = at % count + 1
         return requests[at]
      end
   end
end

-- Durations and latencies come in µs.
function done(summary, latency, requests)
   local errors = summary.errors
   local shares = { { "p50", 50 }, { "p90", 90 }, { "p99", 99 }, { "p999", 99.9 } }
   local percentiles = {}
   for i, share in ipairs(shares) do
      percentiles[i] = string.format('"%sMs":%.3f', share[1], latency:percentile(share[2]) / 1000)
   end
   io.write(string.format(
      '{"requests":%d,"seconds":%.6f,"bytes":%.0f,%s,"errors":{"status":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d}}\n',
      summary.requests, summary.duration / 1e6, summary.bytes, table.concat(percentiles, ","),
      errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
