--- Checkpoints: all that training needs to go on later to the same numbers, in one file.
--
--    local things = { model = twin, optimizer = opt, schedule = schedule, warp = warp }
--    local extra, why = checkpoint.load("run.ckpt", things)
--    local first = extra and extra.step + 1 or 1
--    for step = first, 1000 do
--       ...
--       if step % 100 == 0 then
--          assert(checkpoint.save("run.ckpt", things, { step = step }))
--       end
--    end
--
-- The file is there whole or not at all, whenever the process ends: it is written beside the old one, made
-- durable, and renamed. What killed writers left lying is removed when the path is next used. A checksum
-- tells whether a file is what was written. The state of the generator behind `siamese.manual_seed` is always
-- part of it (`math.random`'s cannot be).
--
-- A thing is whatever can give its state and take it back: by `state_dict` and `load_state_dict` (modules,
-- optimisers, schedules, averages, EarlyStopping, History), by `get_state` and `set_state` (generators,
-- transforms), by `state` and `restore` (samplers), or by a field `generator`. States are data: tables,
-- numbers, strings, booleans and tensors, nested. The file is in the safetensors format; reading runs nothing
-- that is in it.
-- @module siamese.checkpoint
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local json = require "siamese.json"
local without_position = require("siamese.options").without_position

local M = {}

local KEY, SUM, FORMAT = "siamese.checkpoint", "siamese.checksum", 1

-- States

local PROTOCOLS = { { "state_dict", "load_state_dict" }, { "get_state", "set_state" },
   { "state", "restore" } }

--- The two methods of a thing; nil if it has none.
local function protocol(thing)
   local kind = type(thing)
   if kind ~= "table" and kind ~= "userdata" then
      return nil
   end
   for _, names in ipairs(PROTOCOLS) do
      local get, set = thing[names[1]], thing[names[2]]
      if type(get) == "function" and type(set) == "function" then
         return get, set, thing
      end
   end
   if kind == "table" and thing.generator ~= nil then
      return protocol(thing.generator)
   end
end

--- Whether a thing can give its state and take it back.
-- @treturn boolean
function M.has_state(thing)
   return not core.is_tensor(thing) and protocol(thing) ~= nil
end

--- The state of a thing (see above).
-- @tparam any thing
-- @treturn table
function M.state_of(thing)
   local get, _, owner = protocol(thing)
   return get(owner)
end

--- Gives a state back to a thing. Modules need all their tensors; what a thing says against a state, it
-- raises.
-- @tparam any thing
-- @tparam table state
function M.restore(thing, state)
   local _, set, owner = protocol(thing)
   return set(owner, state)
end

-- States as JSON and tensors

local DEEPEST = 40

--- Whether a table is a list or has names alone that JSON can have (and none of ours).
local function plain_keys(value)
   local count, strings = 0, 0
   for key in pairs(value) do
      count = count + 1
      if type(key) == "string" and utf8.len(key) and key:sub(1, 1) ~= "$" then
         strings = strings + 1
      end
   end
   if strings == count then
      return true
   end
   for i = 1, count do
      if value[i] == nil then
         return false
      end
   end
   return true
end

local encode

local function encode_table(value, path, out, depth)
   if plain_keys(value) then
      local copy = {}
      for key, item in pairs(value) do
         copy[key] = encode(item, path .. "." .. tostring(key), out, depth + 1)
      end
      return copy
   end
   local list = {}
   for key, item in pairs(value) do
      list[#list + 1] = { encode(key, path, out, depth + 1),
         encode(item, path .. "." .. tostring(key), out, depth + 1) }
   end
   return { ["$pairs"] = list }
end

local function encode_tensor(tensor, path, out)
   local name = utf8.len(path) and not path:find("\0", 1, true) and path or "tensor"
   while out.names[name] do
      name = name .. "'"
   end
   out.names[name] = true
   out.list[#out.list + 1] = name
   out.tensors[#out.tensors + 1] = tensor
   return { ["$tensor"] = name }
end

local function encode_number(value)
   if value - value == 0 or math.type(value) == "integer" then
      return value
   end
   return { ["$number"] = value ~= value and "nan" or value > 0 and "inf" or "-inf" }
end

--- A value as JSON can say it; tensors go into `out` and are named.
function encode(value, path, out, depth)
   local kind = type(value)
   if depth > DEEPEST then
      error(("checkpoint.save: %s is nested too deep, or in itself"):format(path), 0)
   elseif core.is_tensor(value) then
      return encode_tensor(value, path, out)
   elseif kind == "table" then
      return encode_table(value, path, out, depth)
   elseif kind == "number" then
      return encode_number(value)
   elseif kind == "string" and (not utf8.len(value) or value:find("\0", 1, true)) then
      return { ["$bytes"] = (value:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) }
   elseif kind == "string" or kind == "boolean" then
      return value
   end
   error(("checkpoint.save: %s is a %s, which is not data"):format(path, kind), 0)
end

local NUMBERS = { nan = 0 / 0, inf = math.huge, ["-inf"] = -math.huge }
local decode

local SPECIAL = {
   ["$tensor"] = function(name, tensors)
      return tensors[name] or error("a tensor is missing: " .. tostring(name), 0)
   end,
   ["$number"] = function(name)
      return NUMBERS[name] or error("a number is broken", 0)
   end,
   ["$bytes"] = function(text)
      if type(text) ~= "string" or #text % 2 ~= 0 or text:find("%X") then
         error("a string is broken", 0)
      end
      return (text:gsub("%x%x", function(hex) return string.char(tonumber(hex, 16)) end))
   end,
   ["$pairs"] = function(list, tensors)
      local out = {}
      for _, pair in ipairs(type(list) == "table" and list or error("a table is broken", 0)) do
         local key = type(pair) == "table" and pair[1] ~= nil and decode(pair[1], tensors)
         if key == nil or key ~= key or key == false and pair[1] ~= false or pair[2] == nil then
            error("a table is broken", 0)
         end
         out[key] = decode(pair[2], tensors)
      end
      return out
   end,
}

function decode(value, tensors)
   if value == json.null then
      error("there is null where there is none", 0)
   elseif type(value) ~= "table" then
      return value
   end
   local key, item = next(value)
   if type(key) == "string" and key:sub(1, 1) == "$" then
      local special = SPECIAL[key]
      if not special or next(value, key) ~= nil then
         error("an unknown kind of value: " .. key, 0)
      end
      return special(item, tensors)
   end
   local out = {}
   for name, one in pairs(value) do
      out[name] = decode(one, tensors)
   end
   return out
end

-- Files

local swept = {} -- paths where this process has looked for what others left

local function check_path(name, path)
   if type(path) ~= "string" or path == "" or path:find("\0", 1, true) then
      core.raise(("%s: path must be the name of a file, got %s"):format(name,
         type(path) == "string" and ("%q"):format(path) or type(path)))
   end
   if not swept[path] then
      core.remove_stale(path)
      swept[path] = true
   end
end

local function check_things(name, things)
   if type(things) ~= "table" or Module.is_module(things) then
      core.raise(("%s: things must be a table of things by name, got %s"):format(name,
         Module.is_module(things) and "a module" or type(things)))
   end
   for key, thing in pairs(things) do
      if type(key) ~= "string" then
         core.raise(("%s: names of things must be strings, got %s"):format(name, tostring(key)))
      elseif not M.has_state(thing) then
         core.raise(("%s: '%s' is a %s without a state: it needs state_dict and load_state_dict, get_state "
            .. "and set_state, or state and restore"):format(name, key, type(thing)))
      end
   end
end

local function sorted_keys(t)
   local keys = {}
   for key in pairs(t) do
      keys[#keys + 1] = key
   end
   table.sort(keys)
   return keys
end

--- What a disk that loses bits would change: of the text and all tensors, in the order of their names.
local function checksum(text, tensors)
   local parts = { text }
   for _, name in ipairs(sorted_keys(tensors)) do
      local t = tensors[name]:detach():contiguous()
      parts[#parts + 1] = ("%s %s %s %08x"):format(name, t.dtype, table.concat(t.shape, ","),
         core.checksum(t))
   end
   return ("%08x"):format(core.checksum(table.concat(parts, "\n")))
end

--- Writes the states of things, atomically.
-- @tparam string path
-- @tparam table things by name
-- @tparam[opt] table extra data of your own, which `load` gives back
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message with the file's name
function M.save(path, things, extra)
   local name = "checkpoint.save"
   check_path(name, path)
   check_things(name, things)
   local out, states = { names = {}, list = {}, tensors = {} }, {}
   for _, key in ipairs(sorted_keys(things)) do -- so that the file is always the same
      local ok, state = pcall(encode, M.state_of(things[key]), key, out, 0)
      states[key] = ok and state or not ok and core.raise(state)
   end
   local ok, more = pcall(encode, extra or {}, "extra", out, 0)
   if not ok then
      core.raise(more)
   end
   local text = json.encode{ format = FORMAT, states = states, extra = more,
      random = core.get_rng_state() }
   local tensors = {}
   for i, tensor_name in ipairs(out.list) do
      tensors[tensor_name] = out.tensors[i]
   end
   return core.save_tensors(path, out.list, out.tensors, { KEY, SUM }, { text, checksum(text, tensors) })
end

local function read_card(path)
   local tensors, about = core.load_tensors(path, Module.ordered)
   if type(about) == "string" then
      return nil, about
   elseif type(about) ~= "table" or about[KEY] == nil then
      return nil, path .. ": is no checkpoint of siamese.checkpoint"
   end
   local card, why = json.decode(about[KEY])
   if not card then
      return nil, ("%s: %s"):format(path, why)
   elseif type(card) ~= "table" or card.format ~= FORMAT or type(card.states) ~= "table"
      or type(card.extra) ~= "table" or type(card.random) ~= "table"
      or math.type(card.random[1]) ~= "integer" or math.type(card.random[2]) ~= "integer" then
      return nil, path .. ": the checkpoint is broken, or of another version"
   end
   local ok, states = pcall(decode, card.states, tensors)
   local fine, extra = pcall(decode, card.extra, tensors)
   if not ok or not fine then
      return nil, ("%s: the checkpoint is broken: %s"):format(path, tostring(ok and extra or states))
   end
   if checksum(about[KEY], tensors) ~= about[SUM] then
      return nil, path .. ": the checkpoint is broken: it is not what was written"
   end
   return { states = states, extra = extra, random = card.random }
end

--- Reads a checkpoint, without giving anything to anybody.
-- @tparam string path
-- @treturn[1] table `states` by name, `extra`, `random` (for siamese.set_rng_state)
-- @treturn[2] nil
-- @treturn[2] string message with the file's name
function M.read(path)
   check_path("checkpoint.read", path)
   return read_card(path)
end

--- Gives the states of a checkpoint that was read to things, and sets the random numbers. Raises, before
-- anything is changed, unless the names are the same.
function M.apply(name, path, card, things)
   for _, key in ipairs(sorted_keys(things)) do
      if card.states[key] == nil then
         core.raise(("%s: %s has no state of '%s' (it has %s)"):format(name, path, key,
            table.concat(sorted_keys(card.states), ", ")))
      end
   end
   for _, key in ipairs(sorted_keys(card.states)) do
      if things[key] == nil then
         core.raise(("%s: %s holds the state of '%s', which nothing here takes"):format(name, path, key))
      end
   end
   for _, key in ipairs(sorted_keys(things)) do
      local ok, why = pcall(M.restore, things[key], card.states[key])
      if not ok then
         core.raise(("%s: %s: the state of '%s' does not fit: %s"):format(name, path, key,
            without_position(why)))
      end
   end
   core.set_rng_state(card.random)
end

--- Reads a checkpoint and gives each thing its state.
-- @tparam string path
-- @tparam table things by name, the same names as were saved. A state that does not fit its thing (other
--   shapes, another optimiser, a schedule with other options) raises and names it
-- @treturn[1] table `extra` as saved
-- @treturn[2] nil
-- @treturn[2] string message with the file's name: it is missing or broken
function M.load(path, things)
   local name = "checkpoint.load"
   check_path(name, path)
   check_things(name, things)
   local card, why = read_card(path)
   if not card then
      return nil, why
   end
   M.apply(name, path, card, things)
   return card.extra
end

return M
