--- Averages of weights over training: exponential (EMA) and stochastic weight averaging (SWA; Izmailov et al.
-- 2018), with the arithmetic of torch.optim.swa_utils.
--
--    local average = averaging.EMA(net, { decay = 0.999 })
--    for ... do
--       ...
--       opt:step()
--       average:update()
--    end
--    average:with(function() print(validate(net)) end)   -- the net has the averages inside
--    average:swap()                                        -- and now for good
--    averaging.update_bn(net, batches)                     -- after SWA: statistics of the averaged net
--
-- The first update copies the weights. Buffers (batch norm's statistics) are the network's own, unless
-- `use_buffers` has them averaged, too (counters are copied: a mean of integers would be none).
-- @module siamese.averaging
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local options = require "siamese.options"

local M = {}

--- @type Average
local Average = {}
Average.__index = Average

--- The network's tensors that are averaged (float32) and those that are copied, by name.
local function tensors_of(model, use_buffers)
   local names, averaged, copied = {}, {}, {}
   for name, tensor in model:named_parameters() do
      names[#names + 1], averaged[name] = name, tensor:detach()
   end
   for name, tensor in model:named_buffers() do
      if use_buffers then
         names[#names + 1] = name
         local into = tensor.dtype == "float32" and averaged or copied
         into[name] = tensor:detach()
      end
   end
   return names, averaged, copied
end

local function make(name, model, opts, spec, kind)
   if not Module.is_module(model) then
      core.raise(("%s: expected a module, got %s"):format(name, type(model)))
   end
   local o = options.check(name, opts, options.extend(spec, { use_buffers = false }))
   options.check_boolean(name, o, "use_buffers")
   local self = setmetatable({ kind = kind, model = model, options = o, count = 0, shadow = {} }, Average)
   local averaged, copied
   self.names, averaged, copied = tensors_of(model, o.use_buffers)
   for _, key in ipairs(self.names) do
      self.shadow[key] = (averaged[key] or copied[key]):clone()
   end
   return self
end

--- An exponential moving average: average = decay average + (1 - decay) weight at each update.
-- @tparam Module model
-- @tparam[opt] table opts `decay` (0.999), `use_buffers` (false)
-- @treturn Average
function M.EMA(model, opts)
   local self = make("averaging.EMA", model, opts, { decay = 0.999 }, "EMA")
   options.check_number("averaging.EMA", self.options, "decay", 0, 1)
   return self
end

--- The mean of the weights at each update. Update at the end of epochs, late in training, and call
-- `update_bn` after it.
-- @tparam Module model
-- @tparam[opt] table opts `use_buffers` (false)
-- @treturn Average
function M.SWA(model, opts)
   return make("averaging.SWA", model, opts, {}, "SWA")
end

local function weight(self)
   if self.count == 0 then
      return 1
   end
   return self.kind == "EMA" and 1 - self.options.decay or 1 / (self.count + 1)
end

--- Takes the network's weights of now into the average. After each step of the optimiser (EMA), or each
-- epoch (SWA).
function Average:update()
   local _, averaged, copied = tensors_of(self.model, self.options.use_buffers)
   local into, from = {}, {}
   for _, name in ipairs(self.names) do
      local tensor = averaged[name]
      if copied[name] or tensor and self.count == 0 then
         self.shadow[name]:copy_(copied[name] or tensor)
      elseif tensor then
         into[#into + 1], from[#from + 1] = self.shadow[name], tensor:contiguous()
      else
         core.raise(("Average:update: the network has no '%s' any more"):format(name))
      end
   end
   core.optim.lerp(into, from, weight(self))
   self.count = self.count + 1
end

--- Exchanges the network's weights for the averages; a second call takes it back.
function Average:swap()
   local _, averaged, copied = tensors_of(self.model, self.options.use_buffers)
   for _, name in ipairs(self.names) do
      local tensor = averaged[name] or copied[name]
      local kept = tensor:clone()
      tensor:copy_(self.shadow[name])
      self.shadow[name]:copy_(kept)
   end
end

--- Calls a function while the network has the averages for weights; its own come back whatever happens.
-- @tparam function fn
-- @param ... what to call it with
-- @return what it returns
function Average:with(fn, ...)
   self:swap()
   local results = table.pack(pcall(fn, ...))
   self:swap()
   if not results[1] then
      error(results[2], 0)
   end
   return table.unpack(results, 2, results.n)
end

--- Copies the averages into a network of the same kind (or the averaged one itself).
-- @tparam Module module
-- @treturn Module
function Average:copy_to(module)
   local state = module:state_dict()
   for _, name in ipairs(self.names) do
      if not state[name] then
         core.raise(("Average:copy_to: the module has no '%s'"):format(name))
      end
      state[name]:copy_(self.shadow[name])
   end
   return module
end

--- Everything needed to go on later; tensors are copied.
-- @treturn table
function Average:state_dict()
   local tensors = {}
   for name, tensor in pairs(self.shadow) do
      tensors[name] = tensor:clone()
   end
   return { kind = self.kind, options = options.extend(self.options, {}), count = self.count,
      tensors = tensors }
end

--- Puts a `state_dict` back; raises for that of another kind, with other options or of another network.
function Average:load_state_dict(state)
   if type(state) ~= "table" or state.kind ~= self.kind then
      core.raise(("Average:load_state_dict: this is no state of %s"):format(self.kind))
   end
   for key, value in pairs(self.options) do
      if state.options[key] ~= value then
         core.raise(("Average:load_state_dict: the state was saved with %s = %s, this one has %s"):format(key,
            tostring(state.options[key]), tostring(value)))
      end
   end
   for _, name in ipairs(self.names) do
      local tensor = state.tensors[name]
      if not tensor or table.concat(tensor.shape, ",") ~= table.concat(self.shadow[name].shape, ",") then
         core.raise(("Average:load_state_dict: the state has no '%s' of the network's shape"):format(name))
      end
   end
   for _, name in ipairs(self.names) do
      self.shadow[name]:copy_(state.tensors[name])
   end
   self.count = state.count
end

local function batch_norms(model)
   local list = {}
   for _, module in model:named_modules() do
      if getmetatable(module).__name:find("^BatchNorm") and module.num_batches_tracked
         and module.training then
         list[#list + 1] = module
      end
   end
   return list
end

--- The batches of a list, or of an iterator as `for` takes it.
local function each(batches)
   if type(batches) ~= "table" then
      return batches
   end
   local at = 0
   return function()
      at = at + 1
      return batches[at]
   end
end

local function measure(list, batches, forward)
   local momenta, number = {}, 0
   for i, module in ipairs(list) do
      momenta[i] = module.options.momentum
      module.running_mean:fill_(0)
      module.running_var:fill_(1)
      module.num_batches_tracked:fill_(0)
   end
   local ok, message = pcall(core.no_grad, function()
      for x, y, z in each(batches) do
         number = number + 1
         for _, module in ipairs(list) do
            module.options.momentum = 1 / number
         end
         forward(x, y, z)
      end
   end)
   for i, module in ipairs(list) do
      module.options.momentum = momenta[i]
   end
   if not ok then
      error(message, 0)
   end
   return number
end

--- Measures batch norm's statistics anew, as the mean over batches (torch.optim.swa_utils.update_bn):
-- averaged weights have others than the weights that they are averages of. Batch norms that are frozen stay
-- as they are, and so do the modes.
-- @tparam Module model
-- @tparam function|table batches an iterator of batches, or a list of inputs
-- @tparam[opt] function forward called with what the iterator gives; default: the model, with the first value
-- @treturn int the number of batches
-- @usage averaging.update_bn(twin.encoder, data.batches(train, { batch_size = 128 }), function(indices)
--    twin:embed((train:batch(indices)))
-- end)
function M.update_bn(model, batches, forward)
   if not Module.is_module(model) then
      core.raise("averaging.update_bn: expected a module, got " .. type(model))
   elseif type(batches) ~= "function" and type(batches) ~= "table" then
      core.raise("averaging.update_bn: batches must be an iterator or a list, got " .. type(batches))
   end
   return model:in_mode(true, function()
      local list = batch_norms(model)
      return #list > 0 and measure(list, batches, forward or function(x)
         return model(x)
      end) or 0
   end)
end

return M
