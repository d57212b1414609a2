-- The counters of redis-rl for redis_exporter, which skips modules' sections of INFO:
--
--   redis_exporter -redis.addr redis://host:6379 -script scripts/grafana/redis_exporter.lua
--
-- The user needs +eval +info +rl.top. scripts/grafana/prometheus.yml turns the values into the
-- metrics of the dashboard and the alerts. Returns names and values in turn.
local metrics = {}

local function add(name, value)
  metrics[#metrics + 1] = name
  metrics[#metrics + 1] = tostring(value)
end

for field, value in redis.call('INFO', 'rl'):gmatch('rl_([%w_]+):(%d+)\r?\n') do
  local kind = field:match('^errors_(.+)')
  if kind then
    add('rl_errors_total_' .. kind, value)
  elseif field == 'lease_waiting' then
    add('rl_lease_waiting', value)
  elseif not field:match('^top_') then
    add('rl_' .. field .. '_total', value)
  end
end

for rank, entry in ipairs(redis.call('RL.TOP', 10)) do
  add('rl_top_denials_' .. rank, entry[2])
end

return metrics
