--- Activations. None has parameters but PReLU; any shape goes in and comes out.
-- @module siamese.nn.activations
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local init = require "siamese.nn.initialise"
local options = require "siamese.options"
local parts = require "siamese.nn.parts"

local F = core.F
local M = {}
local repr_of = parts.repr_of

local function simple(...)
   return parts.simple(M, ...)
end

--- Identity{}: what comes in.
-- @function Identity
simple("Identity", {}, nil, function(_, ...) return ... end)
--- ReLU{}: max(0, x).
-- @function ReLU
simple("ReLU", {}, nil, function(_, x) return F.relu(x) end)
M.ReLU.activation, M.ReLU.is_activation = "relu", M.ReLU.forward
--- ReLU6{}: max(0, min(6, x)).
-- @function ReLU6
simple("ReLU6", {}, nil, function(_, x) return F.relu6(x) end)
M.ReLU6.activation, M.ReLU6.is_activation = "relu6", M.ReLU6.forward
--- Sigmoid{}: 1 / (1 + exp(-x)).
-- @function Sigmoid
simple("Sigmoid", {}, nil, function(_, x) return F.sigmoid(x) end)
--- Tanh{}
-- @function Tanh
simple("Tanh", {}, nil, function(_, x) return F.tanh(x) end)
--- SiLU{}: x sigmoid(x) (Elfwing, Uchibe and Doya 2018), also called Swish.
-- @function SiLU
simple("SiLU", {}, nil, function(_, x) return F.silu(x) end)
--- Hardsigmoid{}: relu6(x + 3) / 6 (Howard et al. 2019, section 5.2).
-- @function Hardsigmoid
simple("Hardsigmoid", {}, nil, function(_, x) return F.hardsigmoid(x) end)
--- Hardswish{}: x relu6(x + 3) / 6 (Howard et al. 2019, section 5.2).
-- @function Hardswish
simple("Hardswish", {}, nil, function(_, x) return F.hardswish(x) end)

--- LeakyReLU{ negative_slope = 0.01 }
-- @function LeakyReLU
simple("LeakyReLU", { negative_slope = 0.01 }, function(name, o)
   options.check_number(name, o, "negative_slope", -math.huge, math.huge)
end, function(self, x)
   return F.leaky_relu(x, self.options.negative_slope)
end, repr_of("negative_slope"))

--- ELU{ alpha = 1 }: x above 0, alpha (exp(x) - 1) below (Clevert, Unterthiner and Hochreiter 2016, eq. 15).
-- @function ELU
simple("ELU", { alpha = 1.0 }, function(name, o)
   options.check_number(name, o, "alpha", -math.huge, math.huge)
end, function(self, x)
   return F.elu(x, self.options.alpha)
end, repr_of("alpha"))

--- Softplus{ beta = 1, threshold = 20 }: log(1 + exp(beta x)) / beta, x itself where beta x is above the
-- threshold.
-- @function Softplus
simple("Softplus", { beta = 1.0, threshold = 20.0 }, function(name, o)
   options.check_number(name, o, "threshold", -math.huge, math.huge)
   options.check_number(name, o, "beta", 0, math.huge)
   if o.beta == 0 then
      core.raise(name .. ": beta must be above 0")
   end
end, function(self, x)
   return F.softplus(x, self.options.beta, self.options.threshold)
end, repr_of("beta", "threshold"))

--- GELU{ approximate = "none" or "tanh" } (Hendrycks and Gimpel 2016)
-- @function GELU
simple("GELU", { approximate = "none" }, function(name, o)
   options.check_choice(name, o, "approximate", { "none", "tanh" })
end, function(self, x)
   return F.gelu(x, self.options)
end, repr_of("approximate"))

--- Softmax{ dim = } (required)
-- @function Softmax
simple("Softmax", { dim = options.required }, parts.check_dim, function(self, x)
   return F.softmax(x, self.options.dim)
end, repr_of("dim"))

--- PReLU{ num_parameters = 1, init = 0.25 }: x above 0, x times a learned slope below: one for all, or
-- `num_parameters` for as many channels of [N,C,...] (He et al. 2015, eq. 1).
-- @function PReLU
M.PReLU = Module:extend("PReLU")

function M.PReLU:init(opts)
   local o = options.check("nn.PReLU", opts, { num_parameters = 1, init = 0.25 })
   options.check_count("nn.PReLU", o, "num_parameters", 1)
   options.check_number("nn.PReLU", o, "init", -math.huge, math.huge)
   self.options = o
   self.weight = init.constant_(parts.parameter{ o.num_parameters }, o.init)
end

function M.PReLU:forward(x)
   return F.prelu(x, self.weight)
end

M.PReLU.extra_repr = repr_of("num_parameters")

return parts.mark_plain(M)
