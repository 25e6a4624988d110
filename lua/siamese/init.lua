--- Siamese (twin) networks and one-shot recognition.
--
--    local siamese = require "siamese"
--
-- The table holds all functions on tensors (`siamese.zeros`, `siamese.exp`, ...; most are methods of
-- tensors, too) and the modules `nn`, `losses`, `distances`, `miners`, `optim`, `data`, `image`, `augment`,
-- `metrics`, `calibration`, `figure`, `progress` and `models`; `siamese.Twin`, `siamese.Preprocess`,
-- `siamese.save`, `siamese.load` and `siamese.load_model`; `weights`, `record` and `onnx`.
-- `lua5.4 -l siamese` starts a session that has it as a global.
-- @module siamese
local ok, core = pcall(require, "siamese.core")
if not ok then
   error(("siamese: the C core (siamese/core.so) could not be loaded into %s. It is built by `make`, for "
      .. "Lua 5.4 only:\n%s"):format(_VERSION, core), 0)
end

local siamese = { core = core, _VERSION = "siamese scm" }
for name, value in pairs(core) do
   siamese[name] = value
end
for _, name in ipairs{ "nn", "distances", "miners", "losses", "optim", "data", "image", "augment", "metrics",
   "progress", "models", "weights", "record", "calibration", "figure", "averaging", "checkpoint", "onnx" } do
   siamese[name] = require("siamese." .. name)
end
local io = require "siamese.io"
siamese.save, siamese.load, siamese.load_model = io.save, io.load, io.load_model
siamese.Preprocess = require "siamese.preprocess"
siamese.EarlyStopping, siamese.History = require "siamese.early_stopping", require "siamese.history"
siamese.fit = require "siamese.fit"
local twin = require "siamese.twin"
siamese.Twin = twin.Twin
siamese.nn.WeightedL1 = twin.WeightedL1

return setmetatable(siamese, { __name = "siamese", __tostring = function()
   return ("%s: %s, %d thread(s)"):format(siamese._VERSION, core.isa(), core.get_threads())
end })
