--- Padding as layers: zeros or another number around a tensor, its own edges mirrored or repeated, or what
-- lies at its other end. Sizes are one integer for all sides, or {left, right} of [N,C,L] and {left, right,
-- top, bottom} of [N,C,H,W]; negative ones cut off.
-- @module siamese.nn.padding
local core = require "siamese.core"
local options = require "siamese.options"
local parts = require "siamese.nn.parts"

local F = core.F
local M = {}

--- options.padding as a list of 2 * dims sizes; raises for what is none.
local function sizes(name, o, dims)
   local value, list = o.padding, {}
   local given = type(value) == "table" and value
   for i = 1, math.max(2 * dims, given and #given or 0) do
      list[i] = not given and value or given[i]
      if math.type(list[i]) ~= "integer" or i > 2 * dims then
         core.raise(("%s: padding must be an integer or a table of %d such, got %s"):format(name, 2 * dims,
            options.text(value)))
      end
   end
   return list
end

local function repr(self)
   local list = table.concat(sizes("", self.options, self.axes), ", ")
   return self.options.value and ("padding=(%s), value=%g"):format(list, self.options.value)
      or ("padding=(%s)"):format(list)
end

local function padding(kind, dims, mode, spec)
   local name = ("%sPad%dd"):format(kind, dims)
   local class = parts.simple(M, name, options.extend({ padding = options.required }, spec or {}),
      function(title, o)
         sizes(title, o, dims)
         if spec then
            options.check_number(title, o, "value", -math.huge, math.huge)
         end
      end, function(self, x)
         if not core.is_tensor(x) then
            core.raise(("nn.%s: expected a tensor, got %s"):format(name, type(x)))
         elseif x.ndim ~= dims + 2 then
            core.raise(("nn.%s: input must be %s, got [%s]"):format(name,
               dims == 1 and "[N,C,L]" or "[N,C,H,W]", table.concat(x.shape, ",")))
         end
         return F.pad(x, sizes(name, self.options, dims), mode, self.options.value)
      end, repr)
   class.axes = dims
end

for dims = 1, 2 do
   padding("Zero", dims, "constant")
   padding("Constant", dims, "constant", { value = options.required })
   padding("Reflection", dims, "reflect")
   padding("Replication", dims, "replicate")
   padding("Circular", dims, "circular")
end

--- ZeroPad2d{ padding = } (ZeroPad1d): zeros.
-- @function ZeroPad2d
--- ConstantPad2d{ padding =, value = } (ConstantPad1d): one number.
-- @function ConstantPad2d
--- ReflectionPad2d{ padding = } (ReflectionPad1d): mirrored at the edge, which is not repeated; sizes must be
-- below the input's.
-- @function ReflectionPad2d
--- ReplicationPad2d{ padding = } (ReplicationPad1d): the edge, repeated.
-- @function ReplicationPad2d
--- CircularPad2d{ padding = } (CircularPad1d): from the other end; sizes may not be above the input's.
-- @function CircularPad2d

return parts.mark_plain(M)
