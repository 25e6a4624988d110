--- Siamese (twin) networks and one-shot recognition.
-- @module siamese
local core = require "siamese.core"
local siamese = setmetatable({ core = core }, { __index = core })
package.loaded["siamese"] = siamese
return siamese
