--- The base of all layers and networks.
--
--    local Net = nn.Module:extend("Net")
--
--    function Net:init(width)
--       self.conv = nn.Conv2d{ in_channels = 1, out_channels = width, kernel_size = 3 }
--       self.fc = nn.Linear{ in_features = width * 26 * 26, out_features = 10 }
--    end
--
--    function Net:forward(x)
--       return self.fc(self.conv(x):relu():flatten(2))
--    end
--
--    local net = Net(8)
--    local y = net(siamese.zeros(4, 1, 28, 28))
--
-- What is assigned to a field is tracked in the order of assignment: a module becomes a child, a
-- tensor that requires a gradient (or is wrapped by `nn.Parameter`) a parameter. `register_buffer`
-- adds a tensor that is saved with the network but not trained. Everything else is a plain field.
-- @module siamese.nn.module
local core = require "siamese.core"

local Module = {}
Module.__index = Module

local VALUES, ORDER = {}, {} -- keys of an instance: all fields by name; names of the tracked ones

local tracer -- called with (module, inputs, outputs) after each forward; see summary

local function is_tensor(value)
   return type(value) == "userdata" and core.is_tensor(value)
end

--- Whether a value is a module.
function Module.is_module(value)
   return type(value) == "table" and rawget(value, VALUES) ~= nil
end

--- Whether forwards are being listed (by `summary`): then every layer runs by itself.
function Module.is_traced()
   return tracer ~= nil
end

--- "parameter", "buffer", "module" or nil, decided when a field is assigned.
local function kind_of(value)
   if Module.is_module(value) then
      return "module"
   elseif is_tensor(value) and value.requires_grad and value.is_leaf then
      return "parameter"
   end
end

local function forget(self, name)
   local order = rawget(self, ORDER)
   order[name] = nil
   for i, known in ipairs(order) do
      if known == name then
         table.remove(order, i)
         return
      end
   end
end

local function track(self, name, value, kind)
   local values, order = rawget(self, VALUES), rawget(self, ORDER)
   if kind and not order[name] then
      order[#order + 1] = name
   elseif not kind and order[name] then
      forget(self, name)
   end
   order[name] = kind
   values[name] = value
end

local function assign(self, name, value)
   if type(value) == "table" and value.__parameter then
      track(self, name, value.__parameter, "parameter")
      return
   end
   local before = rawget(self, ORDER)[name]
   local keeps = (before == "buffer" or before == "parameter") and is_tensor(value)
   track(self, name, value, keeps and before or kind_of(value))
end

local function call(self, ...)
   if not tracer then
      return self:forward(...)
   end
   local depth = tracer.enter()
   local outputs = table.pack(self:forward(...))
   tracer.leave(self, depth, outputs)
   return table.unpack(outputs, 1, outputs.n)
end

local function construct(class, ...)
   local self = setmetatable({ [VALUES] = { training = true }, [ORDER] = {} }, class.__instance)
   if class.init then
      self:init(...)
   end
   return self
end

--- A new kind of module. Define `init` (the constructor's body) and `forward` on what it returns; call
-- that to make an instance.
-- @tparam string name as it will be printed
-- @treturn table the class
function Module:extend(name)
   if type(name) ~= "string" then
      error("Module:extend: expected a name, got " .. type(name), 2)
   end
   local class = setmetatable({ __name = name }, { __index = self, __call = construct })
   class.__instance = {
      __name = name, __call = call, __newindex = assign,
      __index = function(instance, key)
         local value = rawget(instance, VALUES)[key]
         if value ~= nil then
            return value
         end
         return class[key]
      end,
      __tostring = function(instance)
         return instance:__describe("")
      end,
      __len = function(instance)
         return class.__length and class.__length(instance) or 0
      end,
   }
   return class
end

--- Wraps a tensor so that assigning it makes a parameter even if it does not require a gradient yet.
function Module.Parameter(tensor)
   if not is_tensor(tensor) then
      error("nn.Parameter: expected a tensor, got " .. type(tensor), 2)
   end
   return { __parameter = tensor:requires_grad_() }
end

--- Adds a tensor that is part of the state but not trained.
-- @tparam string name
-- @tparam tensor tensor
function Module:register_buffer(name, tensor)
   track(self, name, tensor, "buffer")
end

--- Adds a child under a name that is no identifier (containers do).
function Module:register_module(name, module)
   if not Module.is_module(module) then
      error(("%s: expected a module, got %s"):format(self:name(), type(module)), 3)
   end
   track(self, name, module, "module")
end

--- The name of the module's class.
function Module:name()
   return self.__name
end

function Module:forward() -- luacheck: ignore self
   error(self:name() .. " has no forward method", 2)
end

--- Children in order: list of {name, module}.
function Module:children()
   local list, values = {}, rawget(self, VALUES)
   for _, name in ipairs(rawget(self, ORDER)) do
      if rawget(self, ORDER)[name] == "module" then
         list[#list + 1] = { name, values[name] }
      end
   end
   return list
end

--- Calls visit(module, name) for the module and all below it, parents first, each once.
local function walk(self, visit, prefix, seen)
   if seen[self] then
      return
   end
   seen[self] = true
   visit(self, prefix)
   for _, child in ipairs(self:children()) do
      walk(child[2], visit, prefix == "" and child[1] or prefix .. "." .. child[1], seen)
   end
end

--- All modules from this one down: iterator over name ("" for itself), module.
function Module:named_modules()
   local list, at = {}, 0
   walk(self, function(module, name)
      list[#list + 1] = { name, module }
   end, "", {})
   return function()
      at = at + 1
      if list[at] then
         return list[at][1], list[at][2]
      end
   end
end

--- Own tensors and those below, in order of assignment: list of {full name, tensor, kind, owner, field}.
local function tensors(self, prefix, list, path)
   local values, order = rawget(self, VALUES), rawget(self, ORDER)
   if path[self] then
      error(self:name() .. " contains itself", 0)
   end
   path[self] = true
   for _, name in ipairs(order) do
      local full = prefix == "" and name or prefix .. "." .. name
      if order[name] == "module" then
         tensors(values[name], full, list, path)
      else
         list[#list + 1] = { full, values[name], order[name] }
      end
   end
   path[self] = nil
   return list
end

--- Parameters by name, each tensor once.
-- @treturn function iterator over name ("layer1.0.weight"), tensor
function Module:named_parameters()
   local list, seen, at = {}, {}, 0
   for _, item in ipairs(tensors(self, "", {}, {})) do
      if item[3] == "parameter" and not seen[item[2]] then
         seen[item[2]] = true
         list[#list + 1] = item
      end
   end
   return function()
      at = at + 1
      if list[at] then
         return list[at][1], list[at][2]
      end
   end
end

--- Parameters in order, each once.
-- @treturn {tensor,...}
function Module:parameters()
   local list = {}
   for _, tensor in self:named_parameters() do
      list[#list + 1] = tensor
   end
   return list
end

--- The number of elements of all parameters.
function Module:num_parameters()
   local count = 0
   for _, tensor in self:named_parameters() do
      count = count + tensor:numel()
   end
   return count
end

--- A table whose pairs come in a given order.
local function ordered(names, values)
   return setmetatable(values, { __pairs = function(t)
      local at = 0
      return function()
         local name
         repeat
            at = at + 1
            name = names[at]
         until name == nil or t[name] ~= nil
         if name ~= nil then
            return name, t[name]
         end
      end
   end })
end
Module.ordered = ordered

--- Parameters and buffers by name, sharing memory with the module; `pairs` goes in order.
-- @treturn table name to tensor
function Module:state_dict()
   local names, values = {}, {}
   for _, item in ipairs(tensors(self, "", {}, {})) do
      names[#names + 1] = item[1]
      values[item[1]] = item[2]:detach()
   end
   return ordered(names, values)
end

local function shape_text(tensor)
   return "[" .. table.concat(tensor.shape, ",") .. "]"
end

local function compare(own, given)
   local missing, unexpected, misfits = {}, {}, {}
   for name, tensor in pairs(own) do
      local came = given[name]
      if came == nil then
         missing[#missing + 1] = name
      elseif not is_tensor(came) then
         misfits[#misfits + 1] = ("%s: expected a tensor, got %s"):format(name, type(came))
      elseif shape_text(tensor) ~= shape_text(came) then
         misfits[#misfits + 1] = ("%s: expected shape %s, got %s"):format(name, shape_text(tensor),
            shape_text(came))
      end
   end
   for name in pairs(given) do
      if own[name] == nil then
         unexpected[#unexpected + 1] = tostring(name)
      end
   end
   return missing, unexpected, misfits
end

--- Copies values into parameters and buffers. Nothing is copied unless everything fits.
-- @tparam table state name to tensor
-- @tparam[opt] table opts `strict` (default true): raise on missing or unexpected names; shapes that
--   do not fit always raise
-- @treturn {string,...} missing names
-- @treturn {string,...} unexpected names
function Module:load_state_dict(state, opts)
   local strict = true
   for key, value in pairs(opts or {}) do
      if key ~= "strict" then
         error("load_state_dict: unknown option '" .. tostring(key) .. "'", 2)
      end
      strict = value
   end
   if type(state) ~= "table" then
      error("load_state_dict: expected a table of tensors, got " .. type(state), 2)
   end
   local own = self:state_dict()
   local missing, unexpected, misfits = compare(own, state)
   local lines = {}
   if strict and #missing > 0 then
      lines[#lines + 1] = "missing: " .. table.concat(missing, ", ")
   end
   if strict and #unexpected > 0 then
      lines[#lines + 1] = "unexpected: " .. table.concat(unexpected, ", ")
   end
   table.move(misfits, 1, #misfits, #lines + 1, lines)
   if #lines > 0 then
      error("load_state_dict of " .. self:name() .. ":\n  " .. table.concat(lines, "\n  "), 2)
   end
   for name, tensor in pairs(own) do
      if state[name] ~= nil then
         tensor:copy_(state[name]:detach())
      end
   end
   return missing, unexpected
end

--- Calls fn(module, name) for the module and all below it; returns the module.
function Module:apply(fn)
   walk(self, fn, "", {})
   return self
end

--- Training mode (batch statistics, dropout), for the module and all below it; returns the module.
-- @tparam[opt=true] boolean on
function Module:train(on)
   if on == nil then
      on = true
   end
   return self:apply(function(module)
      module.training = on
   end)
end

--- Evaluation mode; returns the module.
function Module:eval()
   return self:train(false)
end

local function set_trainable(self, on, patterns)
   for name, tensor in self:named_parameters() do
      local chosen = #patterns == 0
      for _, pattern in ipairs(patterns) do
         chosen = chosen or name:find("^" .. pattern) ~= nil
      end
      if chosen then
         tensor.requires_grad = on
         tensor.grad = nil
      end
   end
   return self
end

--- Stops training the parameters whose names begin with one of the patterns (Lua patterns), or all of
-- them; returns the module.
-- @usage net:freeze("conv1", "layer%d")
function Module:freeze(...)
   return set_trainable(self, false, { ... })
end

--- The opposite of `freeze`.
function Module:unfreeze(...)
   return set_trainable(self, true, { ... })
end

--- Lets the gradients of all parameters go.
function Module:zero_grad()
   for _, tensor in self:named_parameters() do
      tensor.grad = nil
   end
end

--- What stands between the parentheses when the module is printed; layers override it.
function Module:extra_repr() -- luacheck: ignore self
   return ""
end

function Module:__describe(indent)
   local children = self:children()
   if #children == 0 then
      return ("%s(%s)"):format(self:name(), self:extra_repr())
   end
   local lines = { self:name() .. "(" }
   for _, child in ipairs(children) do
      lines[#lines + 1] = ("%s  (%s): %s"):format(indent, child[1],
         child[2]:__describe(indent .. "  "))
   end
   lines[#lines + 1] = indent .. ")"
   return table.concat(lines, "\n")
end

local function own_parameters(module)
   local count, values, order = 0, rawget(module, VALUES), rawget(module, ORDER)
   for _, name in ipairs(order) do
      if order[name] == "parameter" then
         count = count + values[name]:numel()
      end
   end
   return count
end

local function with_commas(n)
   local text = tostring(n):reverse():gsub("(%d%d%d)", "%1,"):reverse()
   return (text:gsub("^,", ""))
end

--- Runs the network once on zeros and lists its layers.
-- @tparam table opts `input`: the shape of the input, such as {1, 1, 28, 28}
-- @treturn string a table of layers, output shapes and parameter counts
-- @usage print(net:summary{ input = { 1, 1, 28, 28 } })
function Module:summary(opts)
   if type(opts) ~= "table" or type(opts.input) ~= "table" then
      error("summary: expected { input = {N, C, H, W} }", 2)
   end
   local names, rows, depth = {}, {}, 0
   for name, module in self:named_modules() do
      names[module] = name
   end
   local training = {}
   self:apply(function(module)
      training[module] = module.training
   end)
   self:eval()
   tracer = {
      enter = function()
         depth = depth + 1
         rows[#rows + 1] = false
         return #rows
      end,
      leave = function(module, row, outputs)
         depth = depth - 1
         rows[row] = { ("  "):rep(depth) .. (names[module] == "" and "" or names[module] .. ": ")
            .. module:name(), is_tensor(outputs[1]) and shape_text(outputs[1]) or "-",
            own_parameters(module) }
      end,
   }
   local ok, message = pcall(core.no_grad, self, core.zeros(opts.input))
   tracer = nil
   for module, mode in pairs(training) do
      module.training = mode
   end
   if not ok then
      error(message, 0)
   end
   local lines = { ("%-44s %-20s %14s"):format("layer", "output", "parameters") }
   for _, row in ipairs(rows) do
      lines[#lines + 1] = ("%-44s %-20s %14s"):format(row[1], row[2], with_commas(row[3]))
   end
   lines[#lines + 1] = ("%-44s %-20s %14s"):format("total", "", with_commas(self:num_parameters()))
   return table.concat(lines, "\n")
end

return Module
