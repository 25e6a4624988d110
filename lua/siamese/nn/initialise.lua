--- Weight initialisation, in place, from the generator that `siamese.manual_seed` seeds.
-- @module siamese.nn.init
local core = require "siamese.core"

local M = {}

--- Runs a change in place outside the graph and returns the tensor.
local function fill(tensor, method, ...)
   core.no_grad(tensor[method], tensor, ...)
   return tensor
end

--- Inputs and outputs of a unit: [out, in, k...] gives in * k and out * k.
local function fans(tensor, name)
   local shape = tensor.shape
   if #shape < 2 then
      error(name .. ": a fan needs at least 2 dimensions, got [" .. table.concat(shape, ",") .. "]", 3)
   end
   local area = 1
   for d = 3, #shape do
      area = area * shape[d]
   end
   return shape[2] * area, shape[1] * area
end

--- What a nonlinearity's variance is to be multiplied by (He et al. 2015).
local function gain_of(nonlinearity, slope)
   if nonlinearity == "relu" then
      return math.sqrt(2)
   elseif nonlinearity == "leaky_relu" then
      return math.sqrt(2 / (1 + (slope or 0.01) ^ 2))
   elseif nonlinearity == "tanh" then
      return 5 / 3
   elseif nonlinearity == "linear" or nonlinearity == "sigmoid" then
      return 1
   end
   error("init: nonlinearity must be relu, leaky_relu, tanh, sigmoid or linear, got '"
      .. tostring(nonlinearity) .. "'", 3)
end

local function kaiming_std(tensor, opts, name)
   opts = opts or {}
   local fan_in, fan_out = fans(tensor, name)
   local fan = opts.mode == "fan_out" and fan_out or fan_in
   return gain_of(opts.nonlinearity or "leaky_relu", opts.a or 0) / math.sqrt(math.max(fan, 1))
end

--- Uniform in [low, high].
function M.uniform_(tensor, low, high)
   return fill(tensor, "uniform_", low or 0, high or 1)
end

--- Normal.
function M.normal_(tensor, mean, std)
   return fill(tensor, "normal_", mean or 0, std or 1)
end

--- One value everywhere.
function M.constant_(tensor, value)
   return fill(tensor, "fill_", value)
end

function M.zeros_(tensor)
   return fill(tensor, "fill_", 0)
end

function M.ones_(tensor)
   return fill(tensor, "fill_", 1)
end

--- He et al. 2015, eq. 10 and 15. `opts`: `a` (slope below 0), `mode` ("fan_in" or "fan_out"),
-- `nonlinearity` ("leaky_relu").
function M.kaiming_uniform_(tensor, opts)
   local bound = math.sqrt(3) * kaiming_std(tensor, opts, "kaiming_uniform_")
   return fill(tensor, "uniform_", -bound, bound)
end

function M.kaiming_normal_(tensor, opts)
   return fill(tensor, "normal_", 0, kaiming_std(tensor, opts, "kaiming_normal_"))
end

--- Glorot and Bengio 2010, eq. 16.
function M.xavier_uniform_(tensor, gain)
   local fan_in, fan_out = fans(tensor, "xavier_uniform_")
   local bound = (gain or 1) * math.sqrt(6 / (fan_in + fan_out))
   return fill(tensor, "uniform_", -bound, bound)
end

function M.xavier_normal_(tensor, gain)
   local fan_in, fan_out = fans(tensor, "xavier_normal_")
   return fill(tensor, "normal_", 0, (gain or 1) * math.sqrt(2 / (fan_in + fan_out)))
end

--- Koch, Zemel, Salakhutdinov 2015, section 3.2: weights of convolutions N(0, 0.01^2), of fully
-- connected layers N(0, 0.2^2), all biases N(0.5, 0.01^2). Takes a module and all below it.
function M.koch_(module)
   return module:apply(function(layer)
      local weight = layer.weight
      if core.is_tensor(weight) and weight:dim() >= 2 then
         M.normal_(weight, 0, weight:dim() == 4 and 0.01 or 0.2)
         if layer.bias then
            M.normal_(layer.bias, 0.5, 0.01)
         end
      end
   end)
end

return M
