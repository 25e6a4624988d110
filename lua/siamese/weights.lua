--- Weights of others: which of a file's contents is the state of a network, by what names, and what of it
-- fits.
--
--    local report = assert(weights.load_into(net, "resnet18-f37072fd.pth",
--       { new = { "embedding%." }, left_out = { "fc%." } }))
--    print(report)   -- resnet18-f37072fd.pth: 120 tensors loaded; left out: fc.weight [1000,512], ...
--
-- Tensors go from the file into the network one at a time: they are never in memory twice.
-- @module siamese.weights
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local calibration = require "siamese.calibration"
local metadata = require "siamese.metadata"
local options = require "siamese.options"

local M = {}

-- Where training scripts put the state, in the order in which they are tried, and what wrappers put ahead
-- of the names: nn.DataParallel and torch.compile.
local KEYS = { "state_dict", "model_state_dict", "model", "net", "network", "weights", "module" }
local WRAPPERS = { "module.", "_orig_mod." }

-- How many names of a kind a report or a message gives.
local MOST_NAMED = 6

--- The options that choose the state out of a file's contents, for `options.check`.
M.OPTIONS = { key = options.optional, strip_prefix = options.optional }

local function is_tensor(value)
   return core.is_tensor(value) or core.is_stored(value)
end

local function shape_text(tensor)
   return "[" .. table.concat(tensor.shape, ",") .. "]"
end

-- Choosing

local function names_text(value)
   local list = {}
   for name in pairs(value) do
      if #list == 8 then
         list[9] = "..."
         break
      end
      list[#list + 1] = tostring(name)
   end
   return table.concat(list, ", ")
end

local function has_tensors(value)
   for name, item in pairs(value) do
      if type(name) == "string" and is_tensor(item) then
         return true
      end
   end
   return false
end

--- The state in a file's contents: under the first of KEYS that has one, else what has tensors itself.
local function find_state(value, depth)
   if type(value) ~= "table" or depth > 4 then
      return nil
   end
   for _, key in ipairs(KEYS) do
      local found = find_state(value[key], depth + 1)
      if found then
         return found
      end
   end
   return (has_tensors(value) or (depth == 1 and next(value) == nil)) and value or nil
end

local function follow(value, keys)
   for _, key in ipairs(keys) do
      local inside = type(value) == "table" and value[key]
      if inside == nil or inside == false then
         return nil, ("has no '%s'%s"):format(tostring(key),
            type(value) == "table" and (" (it has %s)"):format(names_text(value)) or "")
      end
      value = inside
   end
   return value
end

--- Names without the prefix, for those that begin with it; nil where two become one.
local function strip(state, prefix)
   local names, values = {}, {}
   for name, value in pairs(state) do
      if type(name) == "string" and name:sub(1, #prefix) == prefix then
         name = name:sub(#prefix + 1)
      end
      if values[name] ~= nil then
         return nil, ("has two tensors of the name '%s' without the prefix '%s'"):format(name, prefix)
      end
      names[#names + 1], values[name] = name, value
   end
   return Module.ordered(names, values)
end

--- How many names begin with the prefix, and how many do not.
local function count_prefixed(state, prefix)
   local with, without = 0, 0
   for name in pairs(state) do
      if type(name) == "string" and #name > #prefix and name:sub(1, #prefix) == prefix then
         with = with + 1
      else
         without = without + 1
      end
   end
   return with, without
end

--- Without what wrappers put ahead of all names, however often.
local function unwrap(state)
   local again = true
   while again do
      again = false
      for _, prefix in ipairs(WRAPPERS) do
         local with, without = count_prefixed(state, prefix)
         if with > 0 and without == 0 then
            state, again = strip(state, prefix), true
         end
      end
   end
   return state
end

local function strip_each(state, prefixes)
   for _, prefix in ipairs(prefixes) do
      local why
      if count_prefixed(state, prefix) == 0 then
         return nil, ("has no name that begins with '%s' (it has %s)"):format(prefix, names_text(state))
      end
      state, why = strip(state, prefix)
      if not state then
         return nil, why
      end
   end
   return state
end

local function as_list(value)
   return type(value) == "table" and value or { value }
end

--- Raises unless `key` and `strip_prefix` are as `siamese.load` says. For `options.check`ed options.
-- @tparam string name what they are for, as the message begins
-- @tparam table o
function M.check_options(name, o)
   for _, option in ipairs{ "key", "strip_prefix" } do
      local value = o[option]
      if value ~= nil and type(value) ~= "boolean" then
         for _, one in ipairs(as_list(value)) do
            if type(one) ~= "string" and not (option == "key" and math.type(one) == "integer") then
               core.raise(("%s: %s must be true, a string or a list of strings, got %s"):format(name, option,
                  options.text(value)))
            end
         end
      end
   end
end

--- Chooses the state out of a file's contents.
-- @param value what was read
-- @tparam table o `key`, `strip_prefix`, as for `siamese.load`
-- @treturn[1] any what was chosen
-- @treturn[2] nil
-- @treturn[2] string why not, without the file's name
function M.choose(value, o)
   local why
   if o.key == true then
      local found = find_state(value, 1)
      if not found then
         return nil, "holds no state of a module" .. (type(value) == "table"
            and (" (it has %s); name what does with the option 'key'"):format(names_text(value))
            or ", but a single " .. (is_tensor(value) and "tensor" or type(value)))
      end
      value = found
   elseif o.key then
      value, why = follow(value, as_list(o.key))
      if value == nil then
         return nil, why
      end
   end
   if not o.strip_prefix or type(value) ~= "table" then
      return value
   elseif o.strip_prefix == true then
      return unwrap(value)
   end
   return strip_each(value, as_list(o.strip_prefix))
end

-- Loading

--- A function that says whether a name begins with one of the patterns.
local function matcher(patterns)
   return function(name)
      if patterns == true then
         return true
      end
      for _, pattern in ipairs(patterns) do
         if name:find("^" .. pattern) then
            return true
         end
      end
      return false
   end
end

--- Sorts the names of the module and of the state by what is to become of them.
local function compare(own, state, may)
   local plan = { take = {}, new = {}, left_out = {}, missing = {}, unexpected = {}, misfits = {} }
   local function put(list, name)
      plan[list][#plan[list] + 1] = name
   end
   for name, tensor in pairs(own) do
      local came = state[name]
      if came == nil then
         if may.new(name) then
            put("new", name)
         elseif not Module.is_counter(name) then
            put("missing", name)
         end
      elseif is_tensor(came) and shape_text(came) == shape_text(tensor) then
         put("take", name)
      elseif may.differ(name) then
         put("new", name)
         put("left_out", name)
      else
         put("misfits", ("%s: expected shape %s, got %s"):format(name, shape_text(tensor),
            is_tensor(came) and shape_text(came) or type(came)))
      end
   end
   for name in pairs(state) do
      if own[name] == nil then
         put(type(name) == "string" and not may.be_left_out(name) and "unexpected" or "left_out",
            tostring(name))
      end
   end
   return plan
end

--- The first of a list, and how many more there are: another network's weights differ in hundreds of names.
local function shortened(list, separator)
   if #list <= MOST_NAMED then
      return table.concat(list, separator)
   end
   return table.concat(list, separator, 1, MOST_NAMED) .. separator .. #list - MOST_NAMED .. " more"
end

--- What the state puts ahead of the module's names, such as "encoder.", where nothing fits without it.
local function find_prefix(plan, own)
   local first = next(plan.take) == nil and next(plan.misfits) == nil and pairs(own)()
   for _, name in ipairs(first and plan.unexpected or {}) do
      local prefix = name:sub(1, -#first - 1)
      if name == prefix .. first and prefix:find("%.$") then
         return prefix
      end
   end
end

local function problems(plan, module, own)
   local lines = {}
   for _, kind in ipairs{ "missing", "unexpected" } do
      if #plan[kind] > 0 then
         lines[#lines + 1] = kind .. ": " .. shortened(plan[kind], ", ")
      end
   end
   if #plan.misfits > 0 then
      lines[#lines + 1] = shortened(plan.misfits, "\n  ")
   end
   local prefix = find_prefix(plan, own)
   if prefix then
      lines[#lines + 1] = ("its names begin with '%s', which the option strip_prefix takes away"):format(
         prefix)
   end
   return #lines > 0 and ("does not fit %s:\n  %s"):format(getmetatable(module).__name,
      table.concat(lines, "\n  "))
end

local function names_and_shapes(names, tensors)
   local list = {}
   for i, name in ipairs(names) do
      list[i] = tensors[name] and is_tensor(tensors[name]) and name .. " " .. shape_text(tensors[name])
         or name
   end
   return shortened(list, ", ")
end

--- What a report prints.
local function summary(path, plan, own, state)
   local text = ("%s: %d tensors loaded"):format(path, #plan.take)
   if #plan.left_out > 0 then
      text = text .. "; left out: " .. names_and_shapes(plan.left_out, state)
   end
   if #plan.new > 0 then
      text = text .. "; new: " .. names_and_shapes(plan.new, own)
   end
   return text
end

--- Copies the state into the module as far as `may` allows it to differ.
-- @treturn[1] table report
-- @treturn[2] nil
-- @treturn[2] string why not, without the file's name
local function fit(module, path, state, may)
   local own = module:state_dict()
   local plan = compare(own, state, may)
   local wrong = problems(plan, module, own)
   if wrong then
      return nil, wrong
   elseif #plan.take == 0 and next(own) ~= nil and may.be_nothing ~= true then
      return nil, ("has nothing that fits %s: it has %s; expected %s"):format(getmetatable(module).__name,
         names_text(state), names_text(own))
   end
   local text = summary(path, plan, own, state)
   for _, name in ipairs(plan.take) do
      local value = state[name]
      if core.is_stored(value) then
         local tensor = value:read()
         own[name]:copy_(tensor)
         tensor:free()
      else
         own[name]:copy_(value:detach())
      end
   end
   return setmetatable({ path = path, loaded = #plan.take, left_out = plan.left_out, new = plan.new },
      { __name = "report", __tostring = function() return text end })
end

--- Takes over what a file says besides the weights. A calibration belongs to all of a model's weights: with
-- others, the module's own is void, and with some of its own, the file's.
local function adopt(module, card, report)
   if module.preprocess == nil then
      module.preprocess = card.preprocess
   end
   local whole = #report.left_out == 0 and #report.new == 0
   if type(module.calibrate) == "function" and (calibration.is(module.calibration) or card.calibration) then
      module.calibration = whole and card.calibration or nil
   end
end

--- Reads the file (or takes the table), chooses the state and fits it into the module.
local function load(module, source, o, may)
   if type(source) == "table" then
      local report
      local state, why = M.choose(source, o)
      if state then
         report, why = fit(module, "the state", state, may)
      end
      return report, why and "the state: " .. why
   end
   local value, about, file = core.load_tensors(source, Module.ordered, true)
   local closing <close> = file -- luacheck: ignore
   if type(about) == "string" then
      return nil, about
   end
   local report, state, why
   state, why = M.choose(value, o)
   if type(state) == "table" then
      report, why = fit(module, source, state, may)
   elseif state ~= nil then
      why = "holds no state of a module there, but a " .. (is_tensor(state) and "tensor" or type(state))
   end
   if report then
      local card
      card, why = metadata.read(about)
      if why then
         report = nil
      else
         adopt(module, card or {}, report)
      end
   end
   if not report then
      return nil, ("%s: %s"):format(source, why)
   end
   return report
end

local function check_source(name, module, source)
   if not Module.is_module(module) then
      core.raise(("%s: expected a module, got %s"):format(name, type(module)))
   elseif Module.is_module(source) then
      core.raise(name .. ": expected a file's name or a table of tensors, got a module (give its "
         .. "state_dict())")
   elseif type(source) ~= "table" and (type(source) ~= "string" or source == ""
      or source:find("\0", 1, true)) then
      core.raise(("%s: expected a file's name or a table of tensors, got %s"):format(name,
         type(source) == "string" and ("%q"):format(source) or type(source)))
   end
end

local function check_patterns(name, o, key)
   for _, pattern in ipairs(o[key] == true and {} or as_list(o[key])) do
      if type(pattern) ~= "string" then
         core.raise(("%s: %s must be true, a pattern or a list of patterns, got %s"):format(name, key,
            options.text(o[key])))
      end
   end
   return o[key] == true or as_list(o[key])
end

--- Reads weights into a module as far as they fit. Nothing is changed unless all that must fit does.
-- @tparam Module module
-- @tparam string|table source the name of a file that `siamese.load` reads, or a table of tensors
-- @tparam[opt] table opts `new` and `left_out`: patterns (Lua's) of names, as they begin, that the module
--   may have and the file not, and the file and not the module; `true` for any; none by default. What
--   matches both may also differ in shape: then it stays as the module has it. `key` and `strip_prefix` as
--   for `siamese.load`, true by default
-- @treturn[1] table report `loaded` (how many tensors), `left_out` and `new` (lists of names); prints as
--   text
-- @treturn[2] nil
-- @treturn[2] string message: what is wrong with the file, or what does not fit, by name and shape
-- @usage local report = assert(weights.load_into(net, path, { new = { "fc%." }, left_out = { "fc%." } }))
function M.load_into(module, source, opts)
   local name = "weights.load_into"
   local o = options.check(name, opts, { new = {}, left_out = {}, key = true, strip_prefix = true })
   check_source(name, module, source)
   M.check_options(name, o)
   local new, left_out = matcher(check_patterns(name, o, "new")),
      matcher(check_patterns(name, o, "left_out"))
   return load(module, source, o, { new = new, be_left_out = left_out, differ = function(tensor)
      return new(tensor) and left_out(tensor)
   end })
end

--- Reads a file of weights into the module. Nothing is changed unless everything fits.
-- @function Module:load
-- @tparam string path of a file that `siamese.load` reads
-- @tparam[opt] table opts `strict` (true): names that are missing or unexpected are a failure, too, but
--   for batch norm's `num_batches_tracked`; `key` and `strip_prefix` as for `siamese.load`, true by default
-- @treturn[1] Module itself
-- @treturn[1] table report as `weights.load_into`'s
-- @treturn[2] nil
-- @treturn[2] string message with the file's name: what is wrong with it, or what does not fit
-- @usage assert(net:load("net.safetensors"))
-- @usage assert(encoder:load("twin.safetensors", { strip_prefix = "encoder." }))
function Module:load(path, opts)
   local o = options.check("load", opts, { strict = true, key = true, strip_prefix = true })
   options.check_boolean("load", o, "strict")
   if type(path) ~= "string" then
      core.raise("load: path must be the name of a file, got " .. type(path))
   end
   check_source("load", self, path)
   M.check_options("load", o)
   local any, none = matcher(true), matcher{}
   local report, why = load(self, path, o, { new = o.strict and none or any,
      be_left_out = o.strict and none or any, differ = none, be_nothing = not o.strict })
   if not report then
      return nil, why
   end
   return self, report
end

return M
