--- The benchmark: twins of the field's networks, ours and PyTorch's in turn.
--
--    lua5.4 bench/run.lua [--threads 1,2] [--networks conv4,lenet] [--repeats 5] [--seconds 1]
--                         [--scale 1] [--json build/bench.json] [--tables networks,layers]
--                         [--modes eager,channels_last,compile,compile_channels_last]
--
-- For each network and number of threads: pairs trained a second (one 2N pass, contrastive loss,
-- backward, SGD with momentum) and images embedded a second, as the best and the median of the
-- repeats, A B A B. PyTorch runs in each of the modes and its best counts; `--modes eager,channels_last`
-- saves the minutes that compiling takes. `--scale 2` doubles batches. Each side is a process of its own,
-- so that its peak memory can be read. The second table times single layers, forward and backward.
local M = {}

local function parse(arguments)
   local o = { threads = "1,2", repeats = "5", seconds = "1", scale = "1", json = "build/bench.json",
      modes = "eager,channels_last,compile,compile_channels_last", networks = "",
      tables = "networks,layers" }
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

local function set(list)
   local members = {}
   for _, item in ipairs(list) do
      members[item] = true
   end
   return members
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
   local pipe = io.popen(python .. " -c 'import torch; print(torch.__version__)' 2>/dev/null")
   local version = pipe:read()
   pipe:close()
   return version and python .. " bench/peer.py", version
end

local function median(list)
   local sorted = table.move(list, 1, #list, 1, {})
   table.sort(sorted)
   local n = #sorted
   return n % 2 == 1 and sorted[n // 2 + 1] or (sorted[n // 2] + sorted[n // 2 + 1]) / 2
end

--- Asks every side of the list in turn, `repeats` times; returns per side's name the list of seconds.
local function in_turn(sides, request, repeats, seconds)
   local times = {}
   for _ = 1, repeats do
      for _, side in ipairs(sides) do
         local value, message = side:ask(request, seconds)
         if not value then
            error(("%s, %s: %s"):format(side.name, request, message), 0)
         end
         times[side.name] = times[side.name] or {}
         table.insert(times[side.name], value)
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

--- A list of sides, ours first, then the peer in each of the modes.
local function start_sides(peer, threads, modes)
   local ours = assert(M.start((arg[-1] or "lua5.4") .. " bench/side.lua"))
   ours.name, ours.mode = "ours", "eager"
   local sides = { ours }
   for _, mode in ipairs(peer and modes or {}) do
      local side = M.start("OMP_NUM_THREADS=" .. threads .. " " .. peer)
      side.name, side.mode = mode, mode
      sides[#sides + 1] = side
   end
   return sides
end

--- Makes the sides ready; `request(mode)` gives the words to ask. Those that cannot are left out.
-- Returns what our side answered.
local function load_sides(sides, request)
   local first
   for i = #sides, 1, -1 do
      local value, message = sides[i]:ask(request(sides[i].mode))
      if i == 1 then
         assert(value, message)
         first = value
      elseif not value then
         print(("  (PyTorch %s: %s)"):format(sides[i].mode, message))
         table.remove(sides, i):stop()
      end
   end
   return first
end

local function stop_sides(sides)
   for _, side in ipairs(sides) do
      side:stop()
   end
end

local function measure(options, peer, network, threads, peak)
   local batch = math.max(1, math.floor(network.batch * tonumber(options.scale)))
   local sides = start_sides(peer, threads, words(options.modes))
   local macs = load_sides(sides, function(mode)
      return "load", network.name, batch, table.concat(network.shape, " "), threads, mode
   end)
   local repeats, seconds = tonumber(options.repeats), tonumber(options.seconds)
   local row = { network = network.name, threads = threads, batch = batch, macs = macs,
      fma_peak = peak }
   row.train = rates(in_turn(sides, "train", repeats, seconds), batch)
   row.infer = rates(in_turn(sides, "infer", repeats, seconds), batch)
   row.memory = {}
   for _, side in ipairs(sides) do
      if side.name == "ours" then
         row.memory.ours = side:ask("memory")
      elseif side.name == row.train.mode then
         row.memory.peer = side:ask("memory")
      end
   end
   stop_sides(sides)
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
   print(("%-13s %d %s %4.0f%% | %s %4.0f%% | %-9s %s"):format(row.network, row.threads,
      cell(row.train), 100 * row.train.peak_fraction, cell(row.infer), 100 * row.infer.peak_fraction,
      memory, row.train.mode and row.train.mode .. ", " .. row.infer.mode or ""))
end

--- Multiply-adds of a layer's forward pass; nil for a layer that has none to speak of.
local function layer_macs(layer)
   local _, kind, batch, channels, size, out, kernel, stride, padding, groups = table.unpack(layer)
   if kind == "linear" then
      return batch * channels * size
   elseif kind == "conv2d" then
      local side = (size + 2 * padding - kernel) // stride + 1
      return batch * out * side * side * channels // groups * kernel * kernel
   end
end

local function measure_layer(options, sides, layer, threads, peak)
   load_sides(sides, function(mode)
      return "layer", threads, mode, table.unpack(layer, 2)
   end)
   local row = { layer = layer[1], kind = layer[2], threads = threads, fma_peak = peak }
   local macs = layer_macs(layer)
   for _, pass in ipairs{ "forward", "backward" } do
      row[pass] = rates(in_turn(sides, pass, tonumber(options.repeats), options.seconds / 10), 1)
      -- Backward is two products where the input's gradient is wanted, which a first layer's is not.
      local products = pass == "forward" and 1 or layer[4] <= 3 and 1 or 2
      row[pass].peak_fraction = macs and row[pass].ours.best * products * 2 * macs / (peak * 1e9)
   end
   return row
end

local function layer_cell(result)
   local function microseconds(rate)
      return rate and ("%9.0f"):format(1e6 / rate.best) or "        -"
   end
   local fraction = result.peak_fraction
   return ("%s %s %6s %5s"):format(microseconds(result.ours), microseconds(result.peer),
      result.peer and ("%.2f"):format(result.ours.best / result.peer.best) or "-",
      fraction and ("%.0f%%"):format(100 * fraction) or "")
end

local function measure_layers(options, peer, threads, peak, rows)
   print("\nlayer                  t  forward us  PyTorch  ratio  peak | backward us PyTorch  ratio  peak")
   local sides = start_sides(peer, threads, { "eager", "channels_last" })
   for _, layer in ipairs(require "bench.layers") do
      local row = measure_layer(options, sides, layer, threads, peak)
      rows[#rows + 1] = row
      print(("%-22s %d   %s | %s"):format(row.layer, threads, layer_cell(row.forward),
         layer_cell(row.backward)))
      io.flush()
   end
   stop_sides(sides)
end

local function measure_networks(options, peer, threads, peak, rows)
   print("\nnetwork       t   pairs/s   PyTorch  ratio peak |  images/s   PyTorch  ratio peak |"
      .. " peak MB   PyTorch's modes")
   local wanted = set(words(options.networks))
   for _, network in ipairs(require "bench.networks".table) do
      if not next(wanted) or wanted[network.name] then
         local ok, row = pcall(measure, options, peer, network, threads, peak)
         if ok then
            print_row(row)
            rows[#rows + 1] = row
         else
            print(("%-13s %d failed: %s"):format(network.name, threads, row))
         end
         io.flush()
      end
   end
end

--- Says which rows are slower than the peer.
local function print_behind(rows)
   local behind = {}
   for _, row in ipairs(rows) do
      for _, pass in ipairs{ "train", "infer", "forward", "backward" } do
         local result = row[pass]
         local ratio = result and result.peer and result.ours.best / result.peer.best
         if ratio and ratio < 1 then
            behind[#behind + 1] = ("%s %s, %d thread(s): %.2f"):format(row.network or row.layer, pass,
               row.threads, ratio)
         end
      end
   end
   print(#behind == 0 and "\nno row below 1.00"
      or "\nbelow 1.00:\n  " .. table.concat(behind, "\n  "))
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
   local peer, version = find_peer()
   print(peer and "PyTorch " .. version .. " in turn with ours; its best of " .. options.modes
      or "no PyTorch here (python3 cannot import torch): our half alone")
   local tables, rows = set(words(options.tables)), {}
   for _, threads in ipairs(words(options.threads)) do
      threads = tonumber(threads)
      local peak = assert(fma_peak(threads), "bench: build/bench/peak is missing; run make bench")
      print(("\n%d thread(s); FMA peak %.0f GFLOP/s"):format(threads, peak))
      if tables.networks then
         measure_networks(options, peer, threads, peak, rows)
      end
      if tables.layers then
         measure_layers(options, peer, threads, peak, rows)
      end
   end
   if peer then
      print_behind(rows)
   end
   local file = io.open(options.json, "w")
   if file then
      file:write(json(rows), "\n")
      file:close()
      print("\nwritten: " .. options.json)
   end
end

main()
