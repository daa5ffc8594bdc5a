-- What wrk is told behind the address: `upload=BYTES` makes every request a POST of so many, `routes=N` asks for N path
-- prefixes in turn. Both 0: GET /.
function init(args)
  local told = {}
  for _, word in ipairs(args) do
    local name, value = word:match('^(%a+)=(%d+)$')
    if name then told[name] = tonumber(value) end
  end
  if (told.upload or 0) > 0 then
    wrk.method = 'POST'
    wrk.body = string.rep('x', told.upload)
  end
  if (told.routes or 0) > 0 then
    local requests, count, turn = {}, told.routes, 0
    for number = 0, count - 1 do
      requests[number] = wrk.format(nil, string.format('/r%05d/x', number))
    end
    -- A stride that shares no factor with round numbers: neighbours in time are not neighbours in the table.
    request = function()
      turn = (turn + 7919) % count
      return requests[turn]
    end
  end
end

-- One line for a program to read; wrk's own report stops at the 99th percentile.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'evenkeel-bench {"requests":%d,"duration_us":%d,"bytes":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d,' ..
    '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
