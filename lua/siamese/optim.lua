--- Optimisers: SGD, Adam and AdamW, with PyTorch's arithmetic, each step one sweep in C.
--
--    local opt = optim.Adam(net:parameters(), { lr = 1e-3 })
--    opt:zero_grad()
--    loss:backward()
--    opt:step()
--
-- Parameters may be given in groups, each with options of its own:
--
--    optim.SGD({ { params = body, lr = 1e-3 }, { params = head } }, { lr = 1e-2, momentum = 0.9 })
--
-- `opt.param_groups[i].lr` may be changed at any time; `optim.lr_scheduler` has PyTorch's schedules.
-- @module siamese.optim
local core = require "siamese.core"
local options = require "siamese.options"

local M = { lr_scheduler = require "siamese.lr_scheduler" }

--- @type Optimizer
local Optimizer = {}
Optimizer.__index = Optimizer

local function check_parameters(name, list)
   for i, tensor in ipairs(list) do
      if not core.is_tensor(tensor) then
         core.raise(("%s: parameter %d is a %s, expected a tensor"):format(name, i, type(tensor)))
      elseif tensor.dtype ~= "float32" or not tensor.is_leaf then
         core.raise(("%s: parameter %d must be a float32 leaf"):format(name, i))
      end
   end
   if #list == 0 then
      core.raise(name .. ": the list of parameters is empty")
   end
end

local function check_numbers(name, group, ranges)
   for key, range in pairs(ranges) do
      local value = group[key]
      if type(value) ~= "number" or not (value >= range[1] and value <= range[2]) then
         core.raise(("%s: %s must be a number from %g to %g, got %s"):format(name, key, range[1], range[2],
            tostring(value)))
      end
   end
end

--- A list of tensors, or of groups { params = list, options... }, as groups with all options.
local function make_groups(name, params, opts, spec, ranges)
   if type(params) ~= "table" or params[1] == nil then
      core.raise(name .. ": expected a list of parameters or of groups")
   end
   local defaults = options.check(name, opts, spec)
   if core.is_tensor(params[1]) then
      params = { { params = params } }
   end
   local group_spec, groups, seen = options.extend(defaults, { params = options.required }), {}, {}
   for key, value in pairs(spec) do
      if group_spec[key] == nil then
         group_spec[key] = value
      end
   end
   for i, given in ipairs(params) do
      local group = options.check(name, given, group_spec)
      check_parameters(name, group.params)
      check_numbers(name, group, ranges)
      for _, tensor in ipairs(group.params) do
         if seen[tensor] then
            core.raise(("%s: a parameter of group %d is listed twice"):format(name, i))
         end
         seen[tensor] = true
      end
      group.params = table.move(group.params, 1, #group.params, 1, {})
      groups[i] = group
   end
   return groups
end

local function new(name, groups, rule)
   local state = {}
   for i in ipairs(groups) do
      state[i] = { steps = {}, first = {}, second = {} }
      for k in ipairs(groups[i].params) do
         state[i].steps[k] = 0
      end
   end
   return setmetatable({ name = name, param_groups = groups, state = state, rule = rule }, Optimizer)
end

--- One step for all parameters that have a gradient.
function Optimizer:step()
   for i, group in ipairs(self.param_groups) do
      local state = self.state[i]
      local fn, arguments = self.rule(group)
      fn(group.params, state.steps, state.first, state.second, arguments)
   end
end

--- Lets all gradients go.
function Optimizer:zero_grad()
   for _, group in ipairs(self.param_groups) do
      for _, tensor in ipairs(group.params) do
         tensor.grad = nil
      end
   end
end

--- Everything needed to go on later: options of the groups, and the state (tensors are copied).
-- @treturn table
function Optimizer:state_dict()
   local dict = { name = self.name, groups = {} }
   for i, group in ipairs(self.param_groups) do
      local saved = { options = {}, steps = {}, first = {}, second = {}, count = #group.params }
      for key, value in pairs(group) do
         if key ~= "params" then
            saved.options[key] = value
         end
      end
      for key, list in pairs(self.state[i]) do
         for k, value in pairs(list) do
            saved[key][k] = core.is_tensor(value) and value:clone() or value
         end
      end
      dict.groups[i] = saved
   end
   return dict
end

local function fits(group, saved)
   if saved.count ~= #group.params then
      return false
   end
   for _, key in ipairs{ "first", "second" } do
      for k, tensor in pairs(saved[key]) do
         if table.concat(tensor.shape, ",") ~= table.concat(group.params[k].shape, ",") then
            return false
         end
      end
   end
   return true
end

--- Puts a `state_dict` back.
function Optimizer:load_state_dict(dict)
   if type(dict) ~= "table" or dict.name ~= self.name or type(dict.groups) ~= "table"
      or #dict.groups ~= #self.param_groups then
      core.raise(("load_state_dict: this is no state of %s with %d group(s)"):format(self.name,
         #self.param_groups))
   end
   for i, group in ipairs(self.param_groups) do
      if not fits(group, dict.groups[i]) then
         core.raise(("load_state_dict: group %d has other parameters"):format(i))
      end
   end
   for i, group in ipairs(self.param_groups) do
      local saved = dict.groups[i]
      for key, value in pairs(saved.options) do
         group[key] = value
      end
      for key, list in pairs(self.state[i]) do
         for k in pairs(list) do
            list[k] = nil
         end
         for k, value in pairs(saved[key]) do
            list[k] = core.is_tensor(value) and value:clone() or value
         end
      end
   end
end

function Optimizer:__tostring()
   local parts = {}
   for i, group in ipairs(self.param_groups) do
      parts[i] = ("%d parameters, lr %g"):format(#group.params, group.lr)
   end
   return ("%s(%s)"):format(self.name, table.concat(parts, "; "))
end

local RATE = { 0, math.huge }

--- Stochastic gradient descent.
-- @tparam table params parameters or groups
-- @tparam table opts `lr` (required), `momentum` (0), `dampening` (0), `weight_decay` (0), `nesterov`
--   (false)
-- @treturn Optimizer
function M.SGD(params, opts)
   local groups = make_groups("optim.SGD", params, opts, { lr = options.required, momentum = 0,
      dampening = 0, weight_decay = 0, nesterov = false },
      { lr = RATE, momentum = RATE, weight_decay = RATE })
   for _, group in ipairs(groups) do
      if group.nesterov and (group.momentum == 0 or group.dampening ~= 0) then
         core.raise("optim.SGD: nesterov needs momentum and no dampening")
      end
   end
   return new("SGD", groups, function(group)
      return core.optim.sgd, group
   end)
end

local function adam(name, params, opts, weight_decay, decoupled)
   local groups = make_groups("optim." .. name, params, opts, { lr = 1e-3, betas = { 0.9, 0.999 },
      eps = 1e-8, weight_decay = weight_decay }, { lr = RATE, eps = RATE, weight_decay = RATE })
   for _, group in ipairs(groups) do
      for k = 1, 2 do
         local beta = type(group.betas) == "table" and group.betas[k]
         if type(beta) ~= "number" or beta < 0 or beta >= 1 then
            core.raise(("optim.%s: betas must be two numbers in [0, 1)"):format(name))
         end
      end
   end
   return new(name, groups, function(group)
      return core.optim.adam, { lr = group.lr, beta1 = group.betas[1], beta2 = group.betas[2],
         eps = group.eps, weight_decay = group.weight_decay, decoupled = decoupled }
   end)
end

--- Adam (Kingma and Ba 2015).
-- @tparam table params parameters or groups
-- @tparam[opt] table opts `lr` (1e-3), `betas` ({0.9, 0.999}), `eps` (1e-8), `weight_decay` (0)
-- @treturn Optimizer
function M.Adam(params, opts)
   return adam("Adam", params, opts, 0, false)
end

--- Adam with decoupled weight decay (Loshchilov and Hutter 2019). Options as Adam's; `weight_decay`
-- is 0.01.
-- @treturn Optimizer
function M.AdamW(params, opts)
   return adam("AdamW", params, opts, 0.01, true)
end

--- Scales all gradients so that their common norm is at most max_norm.
-- @tparam {tensor,...} params
-- @tparam number max_norm
-- @treturn number the norm before
function M.clip_grad_norm(params, max_norm)
   if type(max_norm) ~= "number" or max_norm ~= max_norm or max_norm < 0 then
      core.raise("clip_grad_norm: max_norm must be a number of at least 0, got " .. tostring(max_norm))
   end
   local norm = core.optim.grad_norm(params)
   if norm > max_norm then
      local scale = max_norm / (norm + 1e-6)
      core.no_grad(function()
         for _, tensor in ipairs(params) do
            if tensor.grad then
               tensor.grad:mul_(scale)
            end
         end
      end)
   end
   return norm
end

--- Clamps every element of all gradients to [-limit, limit].
function M.clip_grad_value(params, limit)
   core.no_grad(function()
      for _, tensor in ipairs(params) do
         if tensor.grad then
            tensor.grad:copy_(tensor.grad:clamp(-limit, limit))
         end
      end
   end)
end

return M
