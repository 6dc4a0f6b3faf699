-- Sends with wrk what the environment says, and at the end says what came of it in one line of JSON.
wrk.method = os.getenv("KITE_METHOD")
wrk.headers["Authorization"] = "Bearer " .. os.getenv("KITE_TOKEN")
local body = os.getenv("KITE_BODY")
if body ~= "" then
   wrk.headers["Content-Type"] = os.getenv("KITE_TYPE")
   local file = io.open(body, "rb")
   wrk.body = file:read("*a")
   file:close()
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "micros": %d, "p50": %d, "p99": %d, "refused": %d, "broken": %d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
