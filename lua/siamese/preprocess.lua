--- How pictures become a network's input, as a record that travels with the network.
--
--    local pre = siamese.Preprocess{ size = 224, resize = 256, mean = { 0.485, 0.456, 0.406 },
--       std = { 0.229, 0.224, 0.225 } }
--    local x = assert(pre("face.jpg"))      -- [1,3,224,224], float32
--    local twin = siamese.Twin{ encoder = net, preprocess = pre }
--    twin:verify("a.jpg", "b.jpg", 0.7)     -- the twin applies it
--    net.preprocess = pre
--    local e = assert(net("face.jpg"))      -- so does any module that has one
--
-- The steps, in this order: pixels from 0 to 1; inverted, where wanted; grey or RGB or BGR, whatever the
-- picture has; resized and cut; (x - mean) / std, by channel. They are those of torchvision's presets, which
-- pretrained weights expect: `resize` is its Resize (the shorter side), `size` its CenterCrop.
-- @module siamese.preprocess
local core = require "siamese.core"
local image = require "siamese.image"
local options = require "siamese.options"

local Preprocess = { __name = "Preprocess" }
Preprocess.__index = Preprocess

local SPEC = { channels = "rgb", size = options.optional, resize = options.optional,
   mean = options.optional, std = options.optional, mode = "bilinear", invert = false }
local LARGEST = 16384 -- pixels a side, as siamese.image's own limit

-- ITU-R BT.601, as Pillow turns RGB to grey.
local LUMA = { 0.299, 0.587, 0.114 }

-- Options

--- One number for each channel out of one for all or a list.
local function per_channel(o, key, default, count)
   local value = o[key] == nil and default or o[key]
   local list = type(value) == "table" and value or {}
   for i = 1, type(value) == "table" and 0 or count do
      list[i] = value
   end
   for i = 1, math.max(#list, count) do
      local one = list[i]
      if i > count or type(one) ~= "number" or one - one ~= 0 or (key == "std" and one <= 0) then
         core.raise(("Preprocess: %s must be %s or a list of %d, got %s"):format(key,
            key == "std" and "a number above 0" or "a number", count, options.text(value)))
      end
   end
   return table.move(list, 1, count, 1, {})
end

local function check_sides(o)
   local size = o.size ~= nil and options.check_pair("Preprocess", o, "size", 1)
   if o.resize ~= nil then
      options.check_count("Preprocess", o, "resize", 1)
   end
   for _, side in ipairs{ size and size[1] or 1, size and size[2] or 1, o.resize or 1 } do
      if side > LARGEST then
         core.raise(("Preprocess: size and resize must be at most %d, got %d"):format(LARGEST, side))
      end
   end
   if size and o.resize and math.max(size[1], size[2]) > o.resize then
      core.raise(("Preprocess: size (%d x %d) is cut out of what resize (%d) leaves, and must not be larger")
         :format(size[1], size[2], o.resize))
   end
   return size
end

local function make(class, opts)
   local o = options.check("Preprocess", opts, SPEC)
   if o.channels == 1 or o.channels == 3 then
      o.channels = o.channels == 1 and "grey" or "rgb"
   end
   options.check_choice("Preprocess", o, "channels", { "rgb", "bgr", "grey" })
   options.check_choice("Preprocess", o, "mode", { "bilinear", "area" })
   options.check_boolean("Preprocess", o, "invert")
   local count = o.channels == "grey" and 1 or 3
   local size = check_sides(o)
   local mean, std = per_channel(o, "mean", 0, count), per_channel(o, "std", 1, count)
   return setmetatable({ channels = o.channels, size = size or nil, resize = o.resize, mode = o.mode,
      invert = o.invert, mean = mean, std = std }, class)
end

-- Steps: x is float32 [N,C,H,W]

--- Pixels from 0 to 1.
local function to_unit(x)
   return x.dtype == "uint8" and x:float() / 255 or x:detach()
end

local function to_channels(x, wanted)
   local count = x:size(2)
   if wanted == "grey" then
      return count == 1 and x or x:narrow(2, 1, 1) * LUMA[1] + x:narrow(2, 2, 1) * LUMA[2]
         + x:narrow(2, 3, 1) * LUMA[3]
   elseif count == 1 then
      return x:expand(-1, 3, -1, -1)
   elseif wanted == "bgr" then
      return core.cat({ x:narrow(2, 3, 1), x:narrow(2, 2, 1), x:narrow(2, 1, 1) }, 2)
   end
   return x
end

--- Where a cut of `size` out of `whole` begins, counted from 1: the middle, halves rounded to even as
-- Python's `round` does.
local function middle(whole, size)
   local room = whole - size
   local half = room // 2
   return 1 + (room % 2 == 1 and half % 2 == 1 and half + 1 or half)
end

local function to_size(self, x)
   local height, width = x:size(3), x:size(4)
   if self.resize then
      local long = self.resize * math.max(height, width) // math.min(height, width)
      if long > 4 * LARGEST then
         core.raise(("Preprocess: a picture of %d x %d is too narrow to be made %d on its shorter side")
            :format(height, width, self.resize))
      end
      local target = height <= width and { self.resize, long } or { long, self.resize }
      x = image.resize(x:contiguous(), target, { mode = self.mode })
      if self.size then
         x = x:narrow(3, middle(target[1], self.size[1]), self.size[1])
            :narrow(4, middle(target[2], self.size[2]), self.size[2])
      end
   elseif self.size and (height ~= self.size[1] or width ~= self.size[2]) then
      x = image.resize(x:contiguous(), self.size, { mode = self.mode })
   end
   return x
end

local function to_scale(self, x)
   local count = #self.mean
   local mean, std = core.tensor(self.mean):view(1, count, 1, 1), core.tensor(self.std):view(1, count, 1, 1)
   return ((x - mean) / std):contiguous()
end

local function check_picture(x)
   local dims = core.is_tensor(x) and x:dim() or 0
   local channels = dims == 3 and x:size(1) or dims == 4 and x:size(2)
   if x.dtype == "int64" or (channels ~= 1 and channels ~= 3) or x:numel() == 0 then
      core.raise(("Preprocess: a picture must be [C,H,W] or [N,C,H,W] of 1 or 3 channels, uint8 or float32, "
         .. "got %s [%s]"):format(x.dtype, table.concat(x.shape, ",")))
   end
   return dims == 3 and x:unsqueeze(1) or x
end

local function run(self, x)
   x = to_unit(check_picture(x))
   if self.invert then
      x = 1 - x
   end
   x = to_size(self, to_channels(x, self.channels))
   return to_scale(self, x)
end

local function one(self, what)
   local why
   if type(what) == "string" then
      what, why = image.load(what, { channels = 3 })
   elseif not core.is_tensor(what) then
      core.raise(("Preprocess: expected a picture, a file's name or a list of them, got %s")
         :format(type(what)))
   end
   local x = what and run(self, what)
   return x, why
end

--- Makes the network's input of pictures.
-- @function Preprocess:__call
-- @tparam tensor|string|table what a picture or a batch ([C,H,W] or [N,C,H,W]; uint8 from 0 to 255 or
--   float32 from 0 to 1; 1 channel or 3, red first), the name of a file, or a list of these, which may
--   differ in size where `size` is given
-- @treturn[1] tensor float32 [N,C,H,W], outside of the graph
-- @treturn[2] nil
-- @treturn[2] string message with the name of the file that cannot be read
function Preprocess:__call(what)
   if type(what) ~= "table" then
      local x, why = one(self, what)
      return x, why
   end
   local parts = {}
   for i, item in ipairs(what) do
      local x, why = one(self, item)
      if not x then
         return nil, why
      end
      parts[i] = x
   end
   if #parts == 0 then
      core.raise("Preprocess: expected a picture, a file's name or a list of them, got an empty list")
   end
   return #parts == 1 and parts[1] or core.cat(parts, 1)
end

--- The options as data: what makes the same again.
-- @treturn table
function Preprocess:options()
   return { channels = self.channels, size = self.size and { self.size[1], self.size[2] },
      resize = self.resize, mode = self.mode, invert = self.invert,
      mean = table.move(self.mean, 1, #self.mean, 1, {}), std = table.move(self.std, 1, #self.std, 1, {}) }
end

function Preprocess:__tostring()
   local parts = { self.channels }
   if self.invert then
      parts[#parts + 1] = "inverted"
   end
   if self.resize then
      parts[#parts + 1] = ("shorter side %d"):format(self.resize)
   end
   if self.size then
      parts[#parts + 1] = ("%d x %d"):format(self.size[1], self.size[2])
   end
   return ("Preprocess(%s, mean=%s, std=%s)"):format(table.concat(parts, ", "), options.text(self.mean),
      options.text(self.std))
end

--- Whether a value is one.
function Preprocess.is(value)
   return getmetatable(value) == Preprocess
end

--- One made of a table of options; one that is one already is taken as it is.
function Preprocess.from(value)
   return Preprocess.is(value) and value or Preprocess(value)
end

--- Whether a value handed to a module is pictures yet: a file's name, a uint8 tensor, a list of these.
function Preprocess.is_input(value)
   return type(value) == "string" or (core.is_tensor(value) and value.dtype == "uint8")
      or (type(value) == "table" and getmetatable(value) == nil)
end

--- That of a module: its field `preprocess` (one, or a table of options; what else is there, such as a
-- layer, is none), else its encoder's.
-- @tparam Module module
-- @treturn ?Preprocess
function Preprocess.of(module)
   for _, owner in ipairs{ module, module.encoder } do
      local found = type(owner) == "table" and owner.preprocess
      if type(found) == "table" and (Preprocess.is(found) or getmetatable(found) == nil) then
         return Preprocess.from(found)
      end
   end
end

--- ImageNet's, as torchvision's weights were trained with.
-- @treturn Preprocess
function Preprocess.imagenet()
   return Preprocess{ size = 224, resize = 256, mean = { 0.485, 0.456, 0.406 },
      std = { 0.229, 0.224, 0.225 } }
end

--- Makes one.
-- @function Preprocess
-- @tparam[opt] table opts `channels` ("rgb", "bgr" or "grey"; 3 and 1 stand for the first and the last),
--   `size` (an integer or {height, width}; none: as the picture is), `resize` (the shorter side is made so
--   long first, and `size` is cut out of the middle; none: the whole picture is made `size`), `mean` (0) and
--   `std` (1) (a number or one for each channel, in the network's order, for pixels from 0 to 1), `mode`
--   ("bilinear", with antialiasing, or "area"), `invert` (false: 1 - x)
-- @usage siamese.Preprocess{ size = 105, channels = "grey", invert = true }
return setmetatable(Preprocess, { __name = "Preprocess", __call = make })
