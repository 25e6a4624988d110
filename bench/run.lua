--- The benchmark: twins of the field's networks, ours and PyTorch's in turn.
--
--    lua5.4 bench/run.lua [--threads 1,2] [--networks conv4,lenet] [--repeats 5] [--seconds 1]
--                         [--scale 1] [--json build/bench.json] [--modes eager,channels_last,compile]
--
-- For each network and number of threads: pairs trained a second (one 2N pass, contrastive loss,
-- backward, SGD with momentum) and images embedded a second, as the best and the median of the
-- repeats, A B A B. PyTorch runs in each of the modes and its best counts. `--scale 2` doubles batches.
-- Each side is a process of its own, so that its peak memory can be read.
local M = {}

local function parse(arguments)
   local o = { threads = "1,2", repeats = "5", seconds = "1", scale = "1", json = "build/bench.json",
      modes = "eager,channels_last", networks = "" }
   local i = 1
   while i <= #arguments do
      local key = arguments[i]:match("^%-%-(%a+)$")
      if not key or not o[key] or not arguments[i + 1] then
         io.stderr:write("bench: unknown or incomplete option ", arguments[i], "\n")
         os.exit(2)
      end
      o[key], i = arguments[i + 1], i + 2
   end
   return o
end

local function words(text)
   local list = {}
   for word in text:gmatch("[^,]+") do
      list[#list + 1] = word
   end
   return list
end

--- A process that answers requests: its input is a pipe, its output a FIFO.
local Side = {}
Side.__index = Side

function M.start(command)
   local fifo = os.tmpname()
   os.remove(fifo)
   if not os.execute("mkfifo " .. fifo) then
      return nil
   end
   local input = io.popen(command .. " > " .. fifo .. " 2>/dev/null", "w")
   local output = io.open(fifo)
   os.remove(fifo)
   return setmetatable({ input = input, output = output }, Side)
end

--- The value of an answer, or nil and the error's text.
function Side:ask(...)
   self.input:write(table.concat({ ... }, " "), "\n")
   self.input:flush()
   local line = self.output:read()
   if not line then
      return nil, "the process ended"
   end
   local state, value = line:match("^(%a+)%s+(.*)$")
   if state ~= "ok" then
      return nil, value
   end
   return tonumber(value) or value
end

function Side:stop()
   self.input:write("quit\n")
   self.input:close()
   self.output:close()
end

local function find_peer()
   local python = os.getenv("PYTHON") or "python3"
   local side = M.start(python .. " bench/peer.py")
   local version = side and side:ask("version")
   if side then
      side:stop()
   end
   return version and python .. " bench/peer.py", version
end

local function median(list)
   local sorted = table.move(list, 1, #list, 1, {})
   table.sort(sorted)
   local n = #sorted
   return n % 2 == 1 and sorted[n // 2 + 1] or (sorted[n // 2] + sorted[n // 2 + 1]) / 2
end

--- Runs `request` on every side in turn, `repeats` times; returns per side the list of seconds.
local function in_turn(sides, request, repeats, seconds)
   local times = {}
   for _ = 1, repeats do
      for name, side in pairs(sides) do
         local value = side:ask(request, seconds)
         times[name] = times[name] or {}
         table.insert(times[name], value)
      end
   end
   return times
end

--- Rates (per second, for `items` a step): ours and the best of the peer's modes.
local function rates(times, items)
   local result = {}
   for name, list in pairs(times) do
      local rate = { best = items / math.min(table.unpack(list)), median = items / median(list) }
      if name == "ours" then
         result.ours = rate
      elseif not result.peer or rate.best > result.peer.best then
         result.peer, result.mode = rate, name
      end
   end
   return result
end

local function start_sides(peer, network, threads, modes, scale)
   local environment = "OMP_NUM_THREADS=" .. threads .. " "
   local shape = table.concat(network.shape, " ")
   local batch = math.max(1, math.floor(network.batch * scale))
   local sides = {}
   local ours = assert(M.start((arg[-1] or "lua5.4") .. " bench/side.lua"))
   local value, message = ours:ask("load", network.name, batch, shape, threads, "eager")
   if not value then
      return nil, message
   end
   local macs = value
   sides.ours = ours
   for _, mode in ipairs(peer and modes or {}) do
      local side = M.start(environment .. peer)
      value, message = side:ask("load", network.name, batch, shape, threads, mode)
      if value then
         sides[mode] = side
      else
         side:stop()
         print(("  (PyTorch %s: %s)"):format(mode, message))
      end
   end
   return sides, macs, batch
end

local function measure(options, peer, network, threads, peak)
   local sides, macs, batch = start_sides(peer, network, threads, words(options.modes),
      tonumber(options.scale))
   if not sides then
      print(("%-13s %7d  failed: %s"):format(network.name, threads, macs))
      return nil
   end
   local repeats, seconds = tonumber(options.repeats), tonumber(options.seconds)
   local row = { network = network.name, threads = threads, batch = batch, macs = macs }
   row.train = rates(in_turn(sides, "train", repeats, seconds), batch)
   row.infer = rates(in_turn(sides, "infer", repeats, seconds), batch)
   row.memory = { ours = sides.ours:ask("memory") }
   for name, side in pairs(sides) do
      if name == row.train.mode then
         row.memory.peer = side:ask("memory")
      end
      side:stop()
   end
   -- A training step is a forward and two backward products for both images of a pair.
   row.train.peak_fraction = row.train.ours.best * 2 * 3 * 2 * macs / (peak * 1e9)
   row.infer.peak_fraction = row.infer.ours.best * 2 * macs / (peak * 1e9)
   return row
end

local function cell(result)
   if not result.peer then
      return ("%9.1f %9s %6s"):format(result.ours.best, "-", "-")
   end
   return ("%9.1f %9.1f %6.2f"):format(result.ours.best, result.peer.best,
      result.ours.best / result.peer.best)
end

local function print_row(row)
   local memory = ("%5.0f"):format(row.memory.ours / 1e6)
   if row.memory.peer then
      memory = memory .. ("/%.0f"):format(row.memory.peer / 1e6)
   end
   print(("%-13s %d %s %4.0f%% | %s %4.0f%% | %s %s"):format(row.network, row.threads, cell(row.train),
      100 * row.train.peak_fraction, cell(row.infer), 100 * row.infer.peak_fraction, memory,
      row.train.mode or ""))
end

--- JSON of tables, numbers and strings.
local function json(value)
   if type(value) == "number" then
      return ("%.6g"):format(value)
   elseif type(value) == "string" then
      return ("%q"):format(value)
   end
   local parts = {}
   if #value > 0 then
      for _, item in ipairs(value) do
         parts[#parts + 1] = json(item)
      end
      return "[" .. table.concat(parts, ",\n ") .. "]"
   end
   for key, item in pairs(value) do
      parts[#parts + 1] = ("%q:%s"):format(key, json(item))
   end
   table.sort(parts)
   return "{" .. table.concat(parts, ",") .. "}"
end

local function fma_peak(threads)
   local program = os.getenv("SIAMESE_PEAK") or "build/bench/peak"
   local pipe = io.popen(program .. " " .. threads)
   local rate = tonumber(pipe:read("a"))
   pipe:close()
   return rate
end

local function main()
   local options = parse(arg)
   package.path = "./?.lua;" .. package.path
   local networks = require "bench.networks".table
   local wanted = {}
   for _, name in ipairs(words(options.networks)) do
      wanted[name] = true
   end
   local peer, version = find_peer()
   print(peer and "PyTorch " .. version .. " in turn with ours; its best of " .. options.modes
      or "no PyTorch here (python3 cannot import torch): our half alone")
   local rows = {}
   for _, threads in ipairs(words(options.threads)) do
      threads = tonumber(threads)
      local peak = assert(fma_peak(threads), "bench: build/bench/peak is missing; run make bench")
      print(("\n%d thread(s); FMA peak %.0f GFLOP/s"):format(threads, peak))
      print("network       t   pairs/s   PyTorch  ratio peak |  images/s   PyTorch  ratio peak |"
         .. " peak MB  PyTorch's mode")
      for _, network in ipairs(networks) do
         if not next(wanted) or wanted[network.name] then
            local row = measure(options, peer, network, threads, peak)
            if row then
               print_row(row)
               io.flush()
               row.fma_peak = peak
               rows[#rows + 1] = row
            end
         end
      end
   end
   local file = io.open(options.json, "w")
   if file then
      file:write(json(rows), "\n")
      file:close()
      print("\nwritten: " .. options.json)
   end
end

main()
