--- Pooling beyond that of siamese.nn.layers.
-- @module siamese.nn.pooling
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local init = require "siamese.nn.initialise"
local options = require "siamese.options"
local parts = require "siamese.nn.parts"

local F = core.F
local M = {}

--- AdaptiveMaxPool2d{ output_size = } (an integer or {height, width}; 1 is global maximum pooling)
-- @function AdaptiveMaxPool2d
parts.simple(M, "AdaptiveMaxPool2d", { output_size = options.required }, function(name, o, level)
   options.check_pair(name, o, "output_size", 1, level)
end, function(self, x)
   return F.adaptive_max_pool2d(x, self.options.output_size)
end, parts.repr_of("output_size"))

--- Generalised-mean pooling (Radenovic, Tolias and Chum 2018, eq. 3): input [N,C,H,W], output [N,C,1,1], of
-- each channel the mean of max(x, eps)^p to the power of 1 / p. p is learned; 1 is the average, a large one
-- near the maximum.
-- @function GeM
-- @tparam table opts `p` (3, where it begins), `eps` (1e-6)
-- @usage nn.Sequential{ backbone, nn.GeM{}, nn.Flatten{}, nn.L2Normalize{} }
M.GeM = Module:extend("GeM")

function M.GeM:init(opts)
   local o = options.check("nn.GeM", opts, { p = 3, eps = 1e-6 }, 4)
   options.check_number("nn.GeM", o, "p", -math.huge, math.huge, 4)
   options.check_number("nn.GeM", o, "eps", 0, math.huge, 4)
   if o.p == 0 then
      error("nn.GeM: p must not be 0", 3)
   end
   self.eps = o.eps
   self.p = init.constant_(parts.parameter{ 1 }, o.p)
end

function M.GeM:forward(x)
   return F.gem(x, self.p, self.eps)
end

function M.GeM:extra_repr()
   return ("p=%.4f, eps=%g"):format(self.p:item(), self.eps)
end

return parts.mark_plain(M)
