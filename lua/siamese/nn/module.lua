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
-- tensor that requires a gradient (`nn.Parameter` makes one) a parameter. `register_buffer` adds a
-- tensor that is saved with the network but not trained. Everything else is a plain field; a table of
-- modules is one too, so put modules that come in a list into `nn.ModuleList`.
--
-- A module with a field `preprocess` (see `siamese.preprocess`) takes pictures as they are, too: names of
-- files, uint8 pictures and lists of these; float32 goes in as it is.
--
-- A subclass of a subclass calls what it overrides by name: `nn.Linear.init(self, options)`.
-- @module siamese.nn.module
local core = require "siamese.core"
local Preprocess = require "siamese.preprocess"
local options = require "siamese.options"

local Module = {}
Module.__index = Module

-- Keys of an instance: all fields by name; the names of the tracked ones in order; what those are; the
-- list of children, made when asked for.
local VALUES, NAMES, KINDS, CHILDREN = {}, {}, {}, {}

local tracer -- see Module.trace

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

--- Has forwards listed: `enter(module)` is called ahead of each, and `leave(module, what enter gave,
-- outputs)` behind it. nil ends it.
-- @tparam ?table new
function Module.trace(new)
   tracer = new
end

--- The name of a module's class, whatever fields it has.
local function class_name(self)
   return getmetatable(self).__name
end

--- "parameter", "module" or nil, decided when a field is assigned.
local function kind_of(value)
   if Module.is_module(value) then
      return "module"
   elseif is_tensor(value) and value.requires_grad and value.is_leaf then
      return "parameter"
   end
end

local function forget(names, name)
   for i, known in ipairs(names) do
      if known == name then
         table.remove(names, i)
         return
      end
   end
end

local function contains(module, wanted)
   if module == wanted then
      return true
   end
   for _, child in ipairs(module:children()) do
      if contains(child[2], wanted) then
         return true
      end
   end
   return false
end

--- Whether a tracked field may be named so and hold that; raises if not.
local function check_tracked(self, name, value, kind)
   if math.type(name) ~= "integer" and (type(name) ~= "string" or name:find(".", 1, true)) then
      core.raise(("%s: the name of a %s must be a string without dots, got '%s'"):format(class_name(self),
         kind, tostring(name)))
   elseif kind == "module" and contains(value, self) then
      core.raise(("%s.%s: a module cannot contain itself"):format(class_name(self), name))
   end
end

local function track(self, name, value, kind)
   local names, kinds = rawget(self, NAMES), rawget(self, KINDS)
   if kind then
      check_tracked(self, name, value, kind)
   end
   if kind and not kinds[name] then
      names[#names + 1] = name
   elseif not kind and kinds[name] then
      forget(names, name)
   end
   rawset(self, CHILDREN, nil)
   kinds[name] = kind
   rawget(self, VALUES)[name] = value
end

local function assign(self, name, value)
   if math.type(name) == "integer" and self.__place then
      name = self:__place(name, value)
   end
   local before, kind = rawget(self, KINDS)[name], kind_of(value)
   if (before == "buffer" or before == "parameter") and is_tensor(value) then
      kind = before
   elseif before and not kind and value ~= nil then
      core.raise(("%s.%s is a %s; a %s cannot take its place"):format(class_name(self), name, before,
         type(value)))
   end
   track(self, name, value, kind)
end

--- Makes the input of pictures, for a module that has a record of how, and calls the module.
local function call_with_pictures(self, pictures, ...)
   local x, why = Preprocess.of(self)(pictures)
   if not x then
      return nil, why
   end
   return self(x, ...)
end

local function call(self, ...)
   if rawget(self, VALUES).preprocess ~= nil and Preprocess.is_input((...)) and Preprocess.of(self) then
      return call_with_pictures(self, ...)
   elseif not tracer then
      return self:forward(...)
   end
   local row = tracer.enter(self)
   local outputs = table.pack(self:forward(...))
   tracer.leave(self, row, outputs)
   return table.unpack(outputs, 1, outputs.n)
end

local function construct(class, ...)
   local self = setmetatable({ [VALUES] = { training = true }, [NAMES] = {}, [KINDS] = {} },
      class.__instance)
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
      core.raise("Module:extend: expected a name, got " .. type(name))
   end
   local class = setmetatable({ __name = name }, { __index = self, __call = construct,
      __name = name, __tostring = function()
         return ("%s: a kind of module; call it to make one"):format(name)
      end })
   class.__instance = {
      __name = name, __call = call, __newindex = assign,
      __index = function(instance, key)
         local value = rawget(instance, VALUES)[key]
         if value ~= nil then
            return value
         elseif math.type(key) == "integer" and class.__position then
            return rawget(instance, VALUES)[class.__position(instance, key)]
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

--- A tensor that becomes a parameter when it is assigned to a field: a leaf of the graph that requires a
-- gradient and shares its memory with `tensor`.
-- @tparam tensor tensor float32
-- @treturn tensor
function Module.Parameter(tensor)
   if not is_tensor(tensor) then
      core.raise("nn.Parameter: expected a tensor, got " .. type(tensor))
   elseif tensor.dtype ~= "float32" then
      core.raise("nn.Parameter: only float32 tensors can be trained, got " .. tensor.dtype)
   end
   return tensor:detach():requires_grad_()
end

--- Adds a tensor that is part of the state but not trained.
-- @tparam string name
-- @tparam tensor tensor
function Module:register_buffer(name, tensor)
   if not is_tensor(tensor) then
      core.raise(("%s:register_buffer: expected a tensor, got %s"):format(class_name(self), type(tensor)))
   end
   track(self, name, tensor:detach(), "buffer")
end

--- Adds a child under a name that is no identifier (containers do).
-- @tparam string name
-- @tparam Module module
function Module:register_module(name, module)
   if not Module.is_module(module) then
      core.raise(("%s:register_module: expected a module, got %s"):format(class_name(self), type(module)))
   end
   track(self, name, module, "module")
end

function Module:forward() -- luacheck: ignore self
   core.raise(class_name(self) .. " has no forward method")
end

--- Children in order. The list is the module's own: do not change it.
-- @treturn {{string,Module},...} list of {name, module}
function Module:children()
   local list = rawget(self, CHILDREN)
   if list then
      return list
   end
   list = {}
   for _, name in ipairs(rawget(self, NAMES)) do
      if rawget(self, KINDS)[name] == "module" then
         list[#list + 1] = { tostring(name), rawget(self, VALUES)[name] }
      end
   end
   rawset(self, CHILDREN, list)
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

--- Own tensors and those below, in order of assignment: list of {full name, tensor, kind}.
local function tensors(self, prefix, list)
   local values, kinds = rawget(self, VALUES), rawget(self, KINDS)
   for _, name in ipairs(rawget(self, NAMES)) do
      local full = prefix == "" and tostring(name) or prefix .. "." .. name
      if kinds[name] == "module" then
         tensors(values[name], full, list)
      else
         list[#list + 1] = { full, values[name], kinds[name] }
      end
   end
   return list
end

--- Iterator over the tensors of one kind by name, each tensor once.
local function named(self, kind)
   local list, seen, at = {}, {}, 0
   for _, item in ipairs(tensors(self, "", {})) do
      if item[3] == kind and not seen[item[2]] then
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

--- Parameters by name, each tensor once, in order of assignment.
-- @treturn function iterator over name ("layer1.0.weight"), tensor
-- @usage for name, tensor in net:named_parameters() do print(name, tensor) end
function Module:named_parameters()
   return named(self, "parameter")
end

--- Buffers by name, each once: running statistics and the like.
-- @treturn function iterator over name, tensor
function Module:named_buffers()
   return named(self, "buffer")
end

--- The module's own parameters, without those below it, in order.
-- @treturn {tensor,...}
function Module:own_parameters()
   local list, values, kinds = {}, rawget(self, VALUES), rawget(self, KINDS)
   for _, name in ipairs(rawget(self, NAMES)) do
      if kinds[name] == "parameter" then
         list[#list + 1] = values[name]
      end
   end
   return list
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

--- A table whose pairs come in a given order; keys that were added later come last, sorted.
local function ordered(names, values)
   local known = {}
   for _, name in ipairs(names) do
      known[name] = true
   end
   return setmetatable(values, { __pairs = function(t)
      local list, at = {}, 0
      for name in next, t do
         if not known[name] then
            list[#list + 1] = name
         end
      end
      table.sort(list, function(a, b)
         return tostring(a) < tostring(b)
      end)
      table.move(list, 1, #list, #names + 1)
      table.move(names, 1, #names, 1, list)
      return function()
         repeat
            at = at + 1
         until list[at] == nil or t[list[at]] ~= nil
         local name = list[at]
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
   for _, item in ipairs(tensors(self, "", {})) do
      names[#names + 1] = item[1]
      values[item[1]] = item[2]:detach()
   end
   return ordered(names, values)
end

local function shape_text(tensor)
   return "[" .. table.concat(tensor.shape, ",") .. "]"
end

--- Whether a name is that of batch norm's counter of batches, which PyTorch's states from before 0.4.1
-- lack, and which nothing needs.
function Module.is_counter(name)
   return name:find("num_batches_tracked$") ~= nil
end

local function without_counters(names)
   local list = {}
   for _, name in ipairs(names) do
      if not Module.is_counter(name) then
         list[#list + 1] = name
      end
   end
   return list
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
   table.sort(unexpected)
   return missing, unexpected, misfits
end

--- Copies values into parameters and buffers. Nothing is copied unless everything fits.
-- @tparam table state name to tensor
-- @tparam[opt] table opts `strict` (default true): raise on missing or unexpected names (but for batch
--   norm's `num_batches_tracked`, which old states lack); shapes that do not fit always raise
-- @treturn {string,...} missing names
-- @treturn {string,...} unexpected names
function Module:load_state_dict(state, opts)
   local o = options.check("load_state_dict", opts, { strict = true })
   options.check_boolean("load_state_dict", o, "strict")
   if type(state) ~= "table" or Module.is_module(state) then
      core.raise("load_state_dict: expected a table of tensors, got "
         .. (Module.is_module(state) and "a module (give its state_dict())" or type(state)))
   end
   local own = self:state_dict()
   local missing, unexpected, misfits = compare(own, state)
   local lines, needed = {}, without_counters(missing)
   if o.strict and #needed > 0 then
      lines[#lines + 1] = "missing: " .. table.concat(needed, ", ")
   end
   if o.strict and #unexpected > 0 then
      lines[#lines + 1] = "unexpected: " .. table.concat(unexpected, ", ")
   end
   table.move(misfits, 1, #misfits, #lines + 1, lines)
   if #lines > 0 then
      core.raise("load_state_dict of " .. class_name(self) .. ":\n  " .. table.concat(lines, "\n  "))
   end
   for name, tensor in pairs(own) do
      if state[name] ~= nil then
         tensor:copy_(state[name]:detach())
      end
   end
   return missing, unexpected
end

--- Calls fn(module, name) for the module and all below it, parents first, each once; returns the module.
-- @tparam function fn
-- @usage net:apply(function(m) if m.bias then nn.init.zeros_(m.bias) end end)
function Module:apply(fn)
   if type(fn) ~= "function" then
      core.raise("apply: expected a function, got " .. type(fn))
   end
   walk(self, fn, "", {})
   return self
end

--- Training mode (batch statistics, dropout), for the module and all below it; returns the module. Batch
-- norms that `freeze` holds stay in evaluation mode.
-- @tparam[opt=true] boolean on
function Module:train(on)
   if on == nil then
      on = true
   end
   return self:apply(function(module)
      module.training = on and not module.held
   end)
end

--- Evaluation mode; returns the module.
function Module:eval()
   return self:train(false)
end

--- Calls f(...) in training (true) or evaluation mode (false) and gives what it gives; the modes of all
-- modules come back whatever happens.
-- @tparam boolean training
-- @tparam function f
function Module:in_mode(training, f, ...)
   local modes = {}
   self:apply(function(module)
      modes[module] = module.training
   end)
   self:train(training)
   local results = table.pack(pcall(f, ...))
   for module, mode in pairs(modes) do
      module.training = mode
   end
   if not results[1] then
      error(results[2], 0)
   end
   return table.unpack(results, 2, results.n)
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
      return ("%s(%s)"):format(class_name(self), self:extra_repr())
   end
   local inside = self:extra_repr()
   local lines = { class_name(self) .. "(" }
   if inside ~= "" then
      lines[2] = indent .. "  " .. inside
   end
   for _, child in ipairs(children) do
      lines[#lines + 1] = ("%s  (%s): %s"):format(indent, child[1],
         child[2]:__describe(indent .. "  "))
   end
   lines[#lines + 1] = indent .. ")"
   return table.concat(lines, "\n")
end

return Module
