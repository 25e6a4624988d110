--- What a module's forward really does: the operations it runs, from the input to the embedding.
--
-- The forward runs twice, on other values and with another size of the batch. What comes out of operations
-- on the input is followed; all else is a constant, and must be the same both times but for a repetition
-- along the batch: what depends on the input in ways that were not followed is so found out, and refused.
-- @module siamese.onnx.trace
local core = require "siamese.core"
local Module = require "siamese.nn.module"

local M = {}

local function refuse(...)
   error("siamese.onnx.export: " .. (...):format(select(2, ...)), 0)
end
M.refuse = refuse

--- "Conv2d 'layer1.conv'", for messages.
local function title(self, module)
   local name = self.names[module]
   local class = getmetatable(module).__name
   return name and name ~= "" and ("%s '%s'"):format(class, name) or class
end

local function where(self)
   return title(self, self.open[#self.open] or self.module)
end

--- Ends the run; also where the forward catches errors.
local function fail(self, ...)
   self.failed = self.failed or (...):format(select(2, ...))
   error(self.failed, 0)
end

local function is_derived(self, id)
   return self.values[id] ~= nil and self.values[id].derived
end

local function note(self, id, tensor, derived, name)
   self.values[id] = self.values[id] or { shape = tensor.shape, dtype = tensor.dtype, derived = derived,
      tensor = not derived and tensor or nil, name = name }
   return id
end

--- Ours for a number of core.trace: they go up by one, so that both runs have the same.
local function number(self, raw)
   if not self.numbers[raw] then
      self.count = self.count + 1
      self.numbers[raw] = self.count
   end
   return self.numbers[raw]
end

--- Whether the call gives its input as it is. Where strides ask for a copy, which may be in one of two runs
-- alone, is no concern of a graph's.
local function is_same(event)
   return event.op == "copy" and event.operands[1].dtype == event.results[1].dtype
end

local function add_call(self, event)
   local derived, inputs = false, {}
   for i, raw in ipairs(event.inputs) do
      inputs[i] = raw and note(self, number(self, raw), event.operands[i], false)
      derived = derived or raw and is_derived(self, inputs[i])
   end
   if is_same(event) then
      self.numbers[event.outputs[1]] = inputs[1]
      return
   end
   for k, raw in ipairs(event.outputs) do
      event.outputs[k] = raw and note(self, number(self, raw), event.results[k], derived)
   end
   event.inputs = inputs
   if derived then
      event.operands, event.results = nil, nil
      event.module, event.where = self.open[#self.open], where(self)
      event.scope = event.module and self.names[event.module] or ""
      self.calls[#self.calls + 1] = event
   end
end

local function on_event(self, event)
   if event.op then
      add_call(self, event)
   elseif event.changed then
      fail(self, "%s: %s changes a tensor in place, which no node of a graph does", where(self),
         event.changed)
   elseif is_derived(self, number(self, event.value)) then
      fail(self, "%s: %s reads values that depend on the input into Lua, where they cannot be followed",
         where(self), event.read)
   end
end

--- Tensors among what came out, those of a table (a recurrent layer's state) in order.
local function add_outputs(self, list, what)
   if core.is_tensor(what) then
      list[#list + 1] = note(self, number(self, core.trace_number(what)), what, false)
   elseif type(what) == "table" and not Module.is_module(what) then
      for _, item in ipairs(what) do
         add_outputs(self, list, item)
      end
   else
      fail(self, "%s gives a %s, expected tensors", where(self), type(what))
   end
   return list
end

local function forward(self, module, inputs)
   for i, tensor in ipairs(inputs) do
      self.inputs[i] = note(self, number(self, core.trace_number(tensor)), tensor, true)
   end
   for _, iterate in ipairs{ module.named_parameters, module.named_buffers } do
      for name, tensor in iterate(module) do
         note(self, number(self, core.trace_number(tensor)), tensor, false, name)
      end
   end
   local outputs = table.pack(module(table.unpack(inputs)))
   for i = 1, outputs.n do
      add_outputs(self, self.outputs, outputs[i])
   end
end

--- One run.
-- @treturn table `calls` (list of {`op`, `params`, `inputs`, `outputs` (numbers of values, false where there
--   is none), `scope` (the name of the module that runs it), `where`}), `values` by number ({`shape`,
--   `dtype`, `derived`, `tensor` (of a constant), `name` (of a parameter or buffer)}), `inputs`, `outputs`
local function record(module, names, inputs)
   local self = { calls = {}, values = {}, inputs = {}, outputs = {}, open = {}, names = names,
      module = module, numbers = {}, count = 0 }
   Module.trace{
      enter = function(entered)
         table.insert(self.open, entered)
      end,
      leave = function()
         table.remove(self.open)
      end }
   local ok, message = pcall(core.trace, function(event)
      on_event(self, event)
   end, core.no_grad, forward, self, module, inputs)
   Module.trace(nil)
   if self.failed then
      refuse("%s", self.failed)
   elseif not ok then
      error(message, 0)
   end
   return self
end

local function same_list(a, b)
   for i = 1, math.max(#a, #b) do
      if a[i] ~= b[i] then
         return false
      end
   end
   return true
end
M.same_list = same_list

--- The key of a parameter that differs.
local function changed_param(a, b)
   for key, value in pairs(a) do
      local other = b[key]
      if value ~= other and not (type(value) == "table" and same_list(value, other)) then
         return key
      end
   end
end

--- Whether a call takes all of its operand, as the slice {} of an index does.
local function takes_all(run, call)
   return call.op == "narrow"
      and same_list(run.values[call.inputs[1]].shape, run.values[call.outputs[1]].shape)
end

--- Raises unless the second run did what the first did.
local function compare(a, b)
   for i, call in ipairs(a.calls) do
      local other = b.calls[i]
      if not other or other.op ~= call.op or not same_list(call.inputs, other.inputs) then
         refuse("%s: what forward does depends on the size of the batch or on values (%s)", call.where,
            call.op)
      end
      local key = changed_param(call.params, other.params)
      call.takes_all = takes_all(a, call) and takes_all(b, other)
      if key and not call.takes_all then
         refuse("%s: %s of %s depends on the size of the batch", call.where, key, call.op)
      end
   end
   if #a.calls ~= #b.calls or not same_list(a.outputs, b.outputs) then
      refuse("what forward does depends on the size of the batch or on values")
   end
   for id, value in pairs(a.values) do
      local other = b.values[id]
      value.again = other and other.shape
      if value.again and #value.again ~= #value.shape then
         refuse("a value has %d dimensions, or %d: that depends on the size of the batch", #value.shape,
            #value.again)
      end
   end
end

--- The one value that all elements of a tensor have, with as many dimensions; nil where there are several.
local function only_value(tensor)
   local shape = {}
   for d = 1, tensor:dim() do
      shape[d] = 1
   end
   local first = tensor:numel() > 0 and tensor:reshape(-1):narrow(1, 1, 1)
   return first and tensor:eq(first):all() and first:reshape(shape) or nil
end

--- The constant that both runs have, of the first one's shape or with sizes of 1 instead, to be repeated
-- along the batch.
-- @tparam table a first run
-- @tparam table b second run
-- @tparam int id
-- @tparam string at for the message
-- @treturn tensor
function M.constant(a, b, id, at)
   local tensor, other = a.values[id].tensor, b.values[id].tensor
   if not other then
      refuse("%s: what forward does depends on the size of the batch or on values", at)
   end
   local fits = tensor.dtype == other.dtype and tensor:dim() == other:dim()
   for d, size in ipairs(fits and tensor.shape or {}) do
      fits = fits and (size == other:size(d) or size == 1)
   end
   if a.values[id].name or fits and tensor:expand(other.shape) == other then
      return tensor:detach()
   end
   local one, another = only_value(tensor), only_value(other)
   if one and another and not same_list(tensor.shape, other.shape) and one == another then
      return one
   end
   refuse("%s: a tensor that is made in forward depends on the input or on chance, in ways that cannot be "
      .. "followed", at)
end

--- Marks the calls whose results reach the outputs.
local function mark_live(run)
   local wanted = {}
   for _, id in ipairs(run.outputs) do
      wanted[id] = true
   end
   for i = #run.calls, 1, -1 do
      local call = run.calls[i]
      for _, id in ipairs(call.outputs) do
         call.live = call.live or wanted[id]
      end
      for _, id in ipairs(call.live and call.inputs or {}) do
         wanted[id] = true
      end
   end
end

--- Follows the forward.
-- @tparam Module module
-- @tparam {tensor,...} first inputs
-- @tparam {tensor,...} second others, of the same shapes or with a batch twice as large
-- @treturn table the first run, its values with `again`, the shape in the second
-- @treturn table the second run
function M.follow(module, first, second)
   local names = {}
   for name, one in module:named_modules() do
      names[one] = name
   end
   return module:in_mode(false, function()
      local a, b = record(module, names, first), record(module, names, second)
      compare(a, b)
      mark_live(a)
      return a, b
   end)
end

return M
