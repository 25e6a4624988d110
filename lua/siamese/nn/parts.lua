--- What the definitions of layers share.
-- @module siamese.nn.parts
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local init = require "siamese.nn.initialise"
local options = require "siamese.options"

local M = {}

--- How a value for two axes is printed.
function M.pair_text(value)
   return type(value) == "table" and ("(%d, %d)"):format(value[1], value[2]) or tostring(value)
end

--- Zeros that require a gradient.
function M.parameter(shape)
   return core.zeros(shape, { requires_grad = true })
end

--- Uniform within 1 / sqrt(fan_in), as PyTorch starts biases (and, by another way, weights).
function M.start(weight, bias, fan_in)
   init.kaiming_uniform_(weight, { a = math.sqrt(5) })
   if bias then
      local bound = fan_in > 0 and 1 / math.sqrt(fan_in) or 0
      init.uniform_(bias, -bound, bound)
   end
end

--- A convolution's padding, a number, {height, width}, "same" or "valid", as F.pad wants it.
function M.padding_around(padding, kernel, dilation)
   local around = {}
   for axis = 2, 1, -1 do
      local whole = dilation[axis] * (kernel[axis] - 1)
      local before = padding == "same" and whole // 2 or padding == "valid" and 0 or padding[axis]
      around[#around + 1] = before
      around[#around + 1] = padding == "same" and whole - before or before
   end
   return around
end

--- What a convolution has to pad its input with before the op, which itself puts as many zeros ahead as
-- behind: nil, or what F.pad wants and its mode. Raises for "same" and steps that make it less.
-- @tparam table o the layer's options; `padding` a string or {height, width}
-- @tparam {int,int} kernel
-- @tparam {int,int} stride
-- @tparam {int,int} dilation
function M.padding_apart(name, o, kernel, stride, dilation)
   local same = o.padding == "same"
   if same and (stride[1] ~= 1 or stride[2] ~= 1) then
      core.raise(("%s: padding 'same' needs stride 1, got %s"):format(name, options.text(o.stride)))
   end
   local odd = dilation[1] * (kernel[1] - 1) % 2 + dilation[2] * (kernel[2] - 1) % 2
   if o.padding_mode == "zeros" and not (same and odd > 0) then
      return nil
   end
   local padding = type(o.padding) == "number" and { o.padding, o.padding } or o.padding
   local mode = o.padding_mode == "zeros" and "constant" or o.padding_mode
   return M.padding_around(padding, kernel, dilation), mode
end

--- Raises unless o.dim is the number of a dimension.
function M.check_dim(name, o)
   if math.type(o.dim) ~= "integer" or o.dim == 0 then
      core.raise(("%s: dim must be an integer (the first is 1, the last -1), got %s"):format(name,
         options.text(o.dim)))
   end
end

--- An `extra_repr` that lists these options.
function M.repr_of(...)
   local keys = { ... }
   return function(self)
      local parts = {}
      for _, key in ipairs(keys) do
         if self.options[key] ~= nil then
            parts[#parts + 1] = ("%s=%s"):format(key, M.pair_text(self.options[key]))
         end
      end
      return table.concat(parts, ", ")
   end
end

--- Adds to `layers` a layer without parameters: a function of the input and the options, which
-- `check(name, options)` has seen.
function M.simple(layers, name, spec, check, forward, repr)
   local class = Module:extend(name)
   function class:init(opts)
      self.options = options.check("nn." .. name, opts, spec)
      if check then
         check("nn." .. name, self.options)
      end
   end
   class.forward = forward
   class.extra_repr = repr
   layers[name] = class
   return class
end

--- Marks layers that keep neither input nor output: what lies between two of them can be let go as soon as
-- it is used (siamese.nn.fusion).
function M.mark_plain(layers)
   for _, class in pairs(layers) do
      class.plain = class.forward
   end
   return layers
end

return M
