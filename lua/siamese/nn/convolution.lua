--- Convolutions beyond Conv2d, which is in siamese.nn.layers.
-- @module siamese.nn.convolution
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local options = require "siamese.options"
local parts = require "siamese.nn.parts"

local F = core.F
local M = {}
local required = options.required

--- Channels and groups that go together.
local function check_channels(name, o)
   options.check_count(name, o, "in_channels", 1)
   options.check_count(name, o, "out_channels", 1)
   options.check_count(name, o, "groups", 1)
   options.check_boolean(name, o, "bias")
   if o.in_channels % o.groups ~= 0 or o.out_channels % o.groups ~= 0 then
      core.raise(("%s: groups (%d) must divide in_channels (%d) and out_channels (%d)"):format(name,
         o.groups, o.in_channels, o.out_channels))
   end
end

--- "1, 8, kernel_size=3, stride=1" and what of `more` is not its default.
local function repr(o, more)
   local text = ("%d, %d, kernel_size=%s, stride=%s"):format(o.in_channels, o.out_channels,
      parts.pair_text(o.kernel_size), parts.pair_text(o.stride))
   for _, item in ipairs(more) do
      if o[item[1]] ~= item[2] then
         text = ("%s, %s=%s"):format(text, item[1], parts.pair_text(o[item[1]]))
      end
   end
   return text
end

--- 1-D convolution: input [N,C,L], output [N,O,OL].
-- @function Conv1d
-- @tparam table opts `in_channels`, `out_channels`, `kernel_size` (required); `stride` (1), `padding`
--   (0, a number, "same" or "valid"), `dilation` (1), `groups` (1), `bias` (true), `padding_mode` ("zeros",
--   "reflect", "replicate" or "circular")
-- @usage nn.Conv1d{ in_channels = 2, out_channels = 32, kernel_size = 5, padding = 2 }
M.Conv1d = Module:extend("Conv1d")

function M.Conv1d:init(opts)
   local name = "nn.Conv1d"
   local o = options.check(name, opts, { in_channels = required, out_channels = required,
      kernel_size = required, stride = 1, padding = 0, dilation = 1, groups = 1, bias = true,
      padding_mode = "zeros" })
   check_channels(name, o)
   for _, key in ipairs{ "kernel_size", "stride", "dilation" } do
      options.check_count(name, o, key, 1)
   end
   if type(o.padding) == "string" then
      options.check_choice(name, o, "padding", { "same", "valid" })
   else
      options.check_count(name, o, "padding", 0)
   end
   options.check_choice(name, o, "padding_mode", { "zeros", "reflect", "replicate", "circular" })
   self.options = o
   local around, mode = parts.padding_apart(name, o, { 1, o.kernel_size }, { 1, o.stride },
      { 1, o.dilation })
   self.around, self.around_mode = around and { around[1], around[2] }, mode
   self.call_options = { stride = o.stride, padding = around and 0 or o.padding, dilation = o.dilation,
      groups = o.groups }
   self.weight = parts.parameter{ o.out_channels, o.in_channels // o.groups, o.kernel_size }
   if o.bias then
      self.bias = parts.parameter{ o.out_channels }
   end
   parts.start(self.weight, self.bias, o.in_channels // o.groups * o.kernel_size)
end

function M.Conv1d:forward(x)
   if self.around then
      x = F.pad(x, self.around, self.around_mode)
   end
   return F.conv1d(x, self.weight, self.bias, self.call_options)
end

function M.Conv1d:extra_repr()
   return repr(self.options, { { "padding", 0 }, { "dilation", 1 }, { "groups", 1 },
      { "padding_mode", "zeros" }, { "bias", true } })
end

--- Transposed 2-D convolution (Zeiler et al. 2010): input [N,C,H,W], output [N,O,OH,OW] with
-- OH = (H - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1: what the input of a
-- convolution with these options has whose output is [N,C,H,W].
-- @function ConvTranspose2d
-- @tparam table opts `in_channels`, `out_channels`, `kernel_size` (required); `stride` (1), `padding` (0),
--   `output_padding` (0, below the stride or the dilation), `groups` (1), `bias` (true), `dilation` (1)
-- @usage nn.ConvTranspose2d{ in_channels = 64, out_channels = 32, kernel_size = 4, stride = 2, padding = 1 }
M.ConvTranspose2d = Module:extend("ConvTranspose2d")

function M.ConvTranspose2d:init(opts)
   local name = "nn.ConvTranspose2d"
   local o = options.check(name, opts, { in_channels = required, out_channels = required,
      kernel_size = required, stride = 1, padding = 0, output_padding = 0, groups = 1, bias = true,
      dilation = 1 })
   check_channels(name, o)
   local kernel = options.check_pair(name, o, "kernel_size", 1)
   self.options = o
   self.kernel = kernel
   self.call_options = { groups = o.groups }
   for key, least in pairs{ stride = 1, padding = 0, output_padding = 0, dilation = 1 } do
      self.call_options[key] = options.check_pair(name, o, key, least)
   end
   self.weight = parts.parameter{ o.in_channels, o.out_channels // o.groups, kernel[1], kernel[2] }
   if o.bias then
      self.bias = parts.parameter{ o.out_channels }
   end
   parts.start(self.weight, self.bias, o.out_channels // o.groups * kernel[1] * kernel[2])
end

--- The options with the output_padding that gives {height, width}.
local function with_size(self, x, size)
   local call, padding = self.call_options, {}
   if type(size) ~= "table" or #size ~= 2 then
      core.raise("nn.ConvTranspose2d: output_size must be {height, width}, got " .. options.text(size))
   end
   for axis = 1, 2 do
      local least = (x.shape[axis + 2] - 1) * call.stride[axis] - 2 * call.padding[axis]
         + call.dilation[axis] * (self.kernel[axis] - 1) + 1
      local most = least + math.max(call.stride[axis], call.dilation[axis]) - 1
      if math.type(size[axis]) ~= "integer" or size[axis] < least or size[axis] > most then
         core.raise(("nn.ConvTranspose2d: output_size %d must be from %d to %d, got %s"):format(axis, least,
            most, tostring(size[axis])))
      end
      padding[axis] = size[axis] - least
   end
   return options.extend(call, { output_padding = padding })
end

--- @tparam tensor x
-- @tparam[opt] table output_size {height, width}, where the options leave a choice
function M.ConvTranspose2d:forward(x, output_size)
   local call = self.call_options
   if output_size ~= nil and core.is_tensor(x) and x.ndim == 4 then
      call = with_size(self, x, output_size)
   end
   return F.conv_transpose2d(x, self.weight, self.bias, call)
end

function M.ConvTranspose2d:extra_repr()
   return repr(self.options, { { "padding", 0 }, { "output_padding", 0 }, { "dilation", 1 },
      { "groups", 1 }, { "bias", true } })
end

return parts.mark_plain(M)
