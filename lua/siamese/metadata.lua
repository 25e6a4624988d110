--- What a file of weights says of its model, besides the weights: how it was built, how pictures become its
-- input, its calibration, and whether it was training. It travels as JSON under one key of a safetensors
-- file's metadata; see `siamese.save` and `siamese.load_model`.
-- @module siamese.metadata
local calibration = require "siamese.calibration"
local json = require "siamese.json"
local without_position = require("siamese.options").without_position
local Preprocess = require "siamese.preprocess"
local record = require "siamese.record"

local M = {}

--- The key, which `siamese.save` keeps for itself.
M.KEY = "siamese.model"

local FORMAT = 1
local KNOWN = { format = true, model = true, why = true, preprocess = true, training = true,
   calibration = true }

--- The text for a module. Of one that nothing can build again it says why.
-- @tparam Module module
-- @treturn string
function M.write(module)
   local model, why = record.of(module)
   local preprocess = Preprocess.of(module)
   local calibrated = calibration.is(module.calibration) and module.calibration or nil
   return json.encode{ format = FORMAT, model = model, why = why, training = module.training,
      preprocess = preprocess and preprocess:options() or nil,
      calibration = calibrated and calibrated:options() }
end

local function check(card)
   if type(card) ~= "table" or card.format == nil then
      return "it is no record"
   elseif card.format ~= FORMAT then
      return ("it is of format %s, expected %d"):format(tostring(card.format), FORMAT)
   end
   for key, value in pairs(card) do
      if not KNOWN[key] or value == json.null then
         return ("it has the unknown key '%s', or null there"):format(tostring(key))
      end
   end
   if card.training ~= nil and type(card.training) ~= "boolean" then
      return "training is neither true nor false"
   elseif card.why ~= nil and type(card.why) ~= "string" then
      return "why is no string"
   end
end

--- Reads the text among a file's metadata.
-- @tparam table about metadata: strings by string
-- @treturn[1] table `model` (for `record.build`, not yet checked), `why` there is none, `preprocess` (a
--   Preprocess), `calibration` (a Calibration), `training`; each may be nil
-- @treturn[2] nil if there is no such text
-- @treturn[3] nil
-- @treturn[3] string message: what is wrong with it
function M.read(about)
   local text = about[M.KEY]
   if text == nil then
      return nil
   end
   local card, why = json.decode(text)
   why = why or check(card)
   for key, make in pairs{ preprocess = Preprocess, calibration = calibration.from } do
      if not why and card[key] ~= nil then
         local ok, made = pcall(make, card[key])
         if ok then
            card[key] = made
         else
            why = without_position(made)
         end
      end
   end
   if why then
      return nil, ("the record of its model is broken: %s"):format(why)
   end
   return card
end

return M
