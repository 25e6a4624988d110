--- Layers, containers, initialisation and the functions behind them (`nn.functional`).
-- @module siamese.nn
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local fusion = require "siamese.nn.fusion"
local records = require "siamese.nn.records"
require "siamese.nn.summary" -- these two give modules more methods
require "siamese.nn.freezing"

local M = { Module = Module, Parameter = Module.Parameter, is_module = Module.is_module,
   functional = core.F, init = require "siamese.nn.initialise",
   conv_norm = fusion.conv_norm, residual = fusion.residual, chain = fusion.chain }
for _, part in ipairs{ "layers", "activations", "convolution", "norms", "pooling", "padding", "embedding",
   "recurrent", "container" } do
   for name, class in pairs(require("siamese.nn." .. part)) do
      M[name] = class
      records.add("nn." .. name, class)
   end
end

return M
