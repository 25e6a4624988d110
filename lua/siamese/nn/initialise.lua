--- Weight initialisation, in place and outside the graph, from the generator that `siamese.manual_seed`
-- seeds. Every function returns what it was given.
-- @module siamese.nn.init
local core = require "siamese.core"
local options = require "siamese.options"

local M = {}

--- Runs a change in place outside the graph and returns the tensor.
local function fill(name, tensor, method, ...)
   if not core.is_tensor(tensor) then
      core.raise(("nn.init.%s: expected a tensor, got %s"):format(name, type(tensor)))
   end
   core.no_grad(tensor[method], tensor, ...)
   return tensor
end

--- Inputs and outputs of a unit: [out, in, k...] gives in * k and out * k.
local function fans(name, tensor)
   if not core.is_tensor(tensor) or tensor.ndim < 2 then
      core.raise(("nn.init.%s: expected a tensor of at least 2 dimensions, got %s"):format(name,
         core.is_tensor(tensor) and "[" .. table.concat(tensor.shape, ",") .. "]" or type(tensor)))
   end
   local shape, area = tensor.shape, 1
   for d = 3, #shape do
      area = area * shape[d]
   end
   return shape[2] * area, shape[1] * area
end

--- What a weight's standard deviation is multiplied by ahead of a nonlinearity (He et al. 2015).
local function gain_of(nonlinearity, slope)
   if nonlinearity == "leaky_relu" then
      return math.sqrt(2 / (1 + slope ^ 2))
   elseif nonlinearity == "relu" then
      return math.sqrt(2)
   end
   return nonlinearity == "tanh" and 5 / 3 or 1
end

local function kaiming_std(name, tensor, opts)
   local title = "nn.init." .. name
   local o = options.check(title, opts, { a = 0, mode = "fan_in", nonlinearity = "leaky_relu" })
   options.check_number(title, o, "a", -math.huge, math.huge)
   options.check_choice(title, o, "mode", { "fan_in", "fan_out" })
   options.check_choice(title, o, "nonlinearity", { "relu", "leaky_relu", "tanh", "sigmoid", "linear" })
   local fan_in, fan_out = fans(name, tensor)
   local fan = o.mode == "fan_out" and fan_out or fan_in
   return gain_of(o.nonlinearity, o.a) / math.sqrt(math.max(fan, 1))
end

--- Uniform in [low, high).
-- @tparam tensor tensor
-- @tparam[opt=0] number low
-- @tparam[opt=1] number high
-- @treturn tensor
function M.uniform_(tensor, low, high)
   return fill("uniform_", tensor, "uniform_", low or 0, high or 1)
end

--- Normal.
-- @tparam tensor tensor
-- @tparam[opt=0] number mean
-- @tparam[opt=1] number std
-- @treturn tensor
function M.normal_(tensor, mean, std)
   return fill("normal_", tensor, "normal_", mean or 0, std or 1)
end

--- Draws until nothing lies outside [a, b].
local function truncate(tensor, mean, std, a, b)
   tensor:normal_(mean, std)
   if math.min(mean - a, b - mean) > 10 * std then
      return -- nothing is ever drawn from out there
   end
   local function outside()
      return (tensor:lt(a) + tensor:gt(b)):byte()
   end
   local wrong = outside()
   while wrong:sum():item() > 0 do
      local again = core.randn(tensor.shape) * std + mean
      tensor:copy_(core.where(wrong, again, tensor))
      wrong = outside()
   end
end

--- Normal, but within [a, b]: what falls outside is drawn again.
-- @tparam tensor tensor
-- @tparam[opt] table opts `mean` (0), `std` (1), `a` (-2), `b` (2); [a, b] must reach to within 3 standard
--   deviations of the mean and be no narrower than a tenth of one
-- @treturn tensor
function M.trunc_normal_(tensor, opts)
   local name = "nn.init.trunc_normal_"
   local o = options.check(name, opts, { mean = 0, std = 1, a = -2, b = 2 })
   for _, key in ipairs{ "mean", "a", "b" } do
      options.check_number(name, o, key, -math.huge, math.huge)
   end
   options.check_number(name, o, "std", 0, math.huge)
   if o.std == 0 or o.b - o.a < o.std / 10 or o.a - o.mean > 3 * o.std or o.mean - o.b > 3 * o.std then
      core.raise(("%s: [%g, %g] holds too little of N(%g, %g^2) to draw from"):format(name, o.a, o.b, o.mean,
         o.std))
   elseif not core.is_tensor(tensor) then
      core.raise(("%s: expected a tensor, got %s"):format(name, type(tensor)))
   end
   core.no_grad(truncate, tensor, o.mean, o.std, o.a, o.b)
   return tensor
end

--- One value everywhere.
-- @tparam tensor tensor
-- @tparam number value
-- @treturn tensor
function M.constant_(tensor, value)
   return fill("constant_", tensor, "fill_", value)
end

--- Zeros.
-- @tparam tensor tensor
-- @treturn tensor
function M.zeros_(tensor)
   return fill("zeros_", tensor, "fill_", 0)
end

--- Ones.
-- @tparam tensor tensor
-- @treturn tensor
function M.ones_(tensor)
   return fill("ones_", tensor, "fill_", 1)
end

--- He et al. 2015, eq. 10 and 15, from a uniform distribution.
-- @tparam tensor tensor
-- @tparam[opt] table opts `a` (slope below 0: 0), `mode` ("fan_in" or "fan_out"), `nonlinearity`
--   ("leaky_relu", "relu", "tanh", "sigmoid" or "linear")
-- @treturn tensor
function M.kaiming_uniform_(tensor, opts)
   local bound = math.sqrt(3) * kaiming_std("kaiming_uniform_", tensor, opts)
   return fill("kaiming_uniform_", tensor, "uniform_", -bound, bound)
end

--- The same from a normal distribution.
-- @tparam tensor tensor
-- @tparam[opt] table opts
-- @treturn tensor
function M.kaiming_normal_(tensor, opts)
   local std = kaiming_std("kaiming_normal_", tensor, opts)
   return fill("kaiming_normal_", tensor, "normal_", 0, std)
end

local function xavier_std(name, tensor, gain)
   local fan_in, fan_out = fans(name, tensor)
   if gain ~= nil and type(gain) ~= "number" then
      core.raise(("nn.init.%s: gain must be a number, got %s"):format(name, type(gain)))
   end
   return (gain or 1) * math.sqrt(2 / math.max(fan_in + fan_out, 1))
end

--- Glorot and Bengio 2010, eq. 16.
-- @tparam tensor tensor
-- @tparam[opt=1] number gain
-- @treturn tensor
function M.xavier_uniform_(tensor, gain)
   local bound = math.sqrt(3) * xavier_std("xavier_uniform_", tensor, gain)
   return fill("xavier_uniform_", tensor, "uniform_", -bound, bound)
end

--- The same from a normal distribution.
-- @tparam tensor tensor
-- @tparam[opt=1] number gain
-- @treturn tensor
function M.xavier_normal_(tensor, gain)
   local std = xavier_std("xavier_normal_", tensor, gain)
   return fill("xavier_normal_", tensor, "normal_", 0, std)
end

--- Koch, Zemel, Salakhutdinov 2015, section 3.2: weights of convolutions N(0, 0.01^2), of fully
-- connected layers N(0, 0.2^2), all biases N(0.5, 0.01^2).
-- @tparam Module module it and all below it
-- @treturn Module
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
