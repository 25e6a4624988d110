--- Layers, containers, initialisation and the functions behind them (`nn.functional`).
-- @module siamese.nn
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local records = require "siamese.nn.records"

local M = { Module = Module, Parameter = Module.Parameter, is_module = Module.is_module,
   functional = core.F, init = require "siamese.nn.initialise",
   conv_norm = require "siamese.nn.fusion".conv_norm }
for _, part in ipairs{ "layers", "activations", "convolution", "norms", "pooling", "padding", "embedding",
   "recurrent", "container" } do
   for name, class in pairs(require("siamese.nn." .. part)) do
      M[name] = class
      records.add("nn." .. name, class)
   end
end

return M
