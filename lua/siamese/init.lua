--- Siamese (twin) networks and one-shot recognition.
-- @module siamese
local ok, core = pcall(require, "siamese.core")
if not ok then
   error("siamese: the C core could not be loaded (it is built by `make` for Lua 5.4):\n"
      .. tostring(core), 0)
end

local siamese = { core = core, _VERSION = "siamese scm" }
for name, value in pairs(core) do
   siamese[name] = value
end
for _, name in ipairs{ "nn", "losses", "optim", "data", "image", "augment", "metrics", "progress",
   "models" } do
   siamese[name] = require("siamese." .. name)
end
local io = require "siamese.io"
siamese.save, siamese.load = io.save, io.load
local twin = require "siamese.twin"
siamese.Twin = twin.Twin
siamese.nn.WeightedL1 = twin.WeightedL1

return siamese
