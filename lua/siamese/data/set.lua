--- A data set: images, their labels and the names of their classes.
--
-- It is a table that anyone can make by hand and any loader of `siamese.data` returns:
--
--    images    tensor [N,C,H,W], uint8 (0..255) or float32 (0..1)
--    labels    int64 [N], the class of each image, counted from 1
--    classes   list of class names
--    paths     (optional) list of N file names
--    drawers   (optional) list of N numbers: who made it
--    alphabets (optional) list with one name a class: what the class belongs to
--
-- @module siamese.data.set
local core = require "siamese.core"

local M = {}

--- @type Set
local Set = {}
Set.__index = Set

local SAMPLE_FIELDS = { "paths", "drawers" }
local CLASS_FIELDS = { "classes", "alphabets" }

local function is_tensor(value)
   return type(value) == "userdata" and value.dtype ~= nil
end

--- An index list as an int64 tensor [K].
function M.indices(list, level)
   if is_tensor(list) then
      return list
   elseif type(list) ~= "table" then
      error("expected a list of indices or an int64 tensor, got " .. type(list), level + 1)
   end
   return #list == 0 and core.zeros(0, { dtype = "int64" })
      or core.tensor(list, { dtype = "int64" })
end

--- An index list as a Lua table.
local function index_table(list)
   return is_tensor(list) and list:totable() or list
end

local function pick(list, indices)
   local out = {}
   for i, index in ipairs(indices) do
      out[i] = list[index]
   end
   return out
end

local function check_labels(labels, count, classes)
   if #labels ~= count then
      error(("data set: %d images but %d labels"):format(count, #labels), 4)
   end
   for i, label in ipairs(labels) do
      if math.type(label) ~= "integer" or label < 1 or label > classes then
         error(("data set: label %d is %s, expected an integer from 1 to %d (the classes)")
            :format(i, label, classes), 4)
      end
   end
end

--- Makes a data set of its parts (see above), checking that they agree.
-- @tparam table fields `images`, `labels`, `classes` and what else is known
-- @treturn Set
-- @usage local set = data.set{ images = x, labels = {1, 1, 2, 2}, classes = {"a", "b"} }
function M.new(fields)
   local images, classes = fields.images, fields.classes
   if not is_tensor(images) or images:dim() ~= 4 then
      local got = is_tensor(images) and images:dim() .. "-D tensor" or type(images)
      error("data set: images must be a tensor [N,C,H,W], got a " .. got, 3)
   elseif images.dtype == "int64" then
      error("data set: images must be uint8 (0..255) or float32 (0..1), got int64", 3)
   elseif type(classes) ~= "table" then
      error("data set: classes must be a list of names, got " .. type(classes), 3)
   elseif not is_tensor(fields.labels) and type(fields.labels) ~= "table" then
      error("data set: labels must be a list or an int64 tensor, got " .. type(fields.labels), 3)
   end
   local set = setmetatable({}, Set)
   for key, value in pairs(fields) do
      set[key] = value
   end
   local labels = index_table(fields.labels)
   check_labels(labels, images:size(1), #classes)
   set.labels = M.indices(fields.labels, 3)
   return set
end

--- For each class the list of its images' indices. Works on any table with `labels`, `classes`.
-- @tparam table set
-- @treturn {{number,...},...}
function M.members(set)
   local members = {}
   for class = 1, #set.classes do
      members[class] = {}
   end
   for index, label in ipairs(index_table(set.labels)) do
      local list = members[label]
      list[#list + 1] = index
   end
   return members
end

--- The number of images; `#set` is the same.
function Set:__len()
   return self.images:size(1)
end

--- For each class the list of its images' indices.
-- @treturn {{number,...},...}
function Set:members()
   return M.members(self)
end

--- The images at some indices, for a network.
-- @tparam tensor|table indices [K], counted from 1
-- @treturn tensor images [K,C,H,W], float32 in [0,1]
-- @treturn tensor labels [K], int64
-- @usage local x, y = set:batch{ 1, 5, 9 }
function Set:batch(indices)
   indices = M.indices(indices, 2)
   local images = self.images:index_select(1, indices)
   if images.dtype == "uint8" then
      images = images:float():mul_(1 / 255)
   end
   return images, self.labels:index_select(1, indices)
end

--- A data set of some of the images; the classes stay as they are.
-- @tparam tensor|table indices [K], counted from 1
-- @treturn Set
function Set:subset(indices)
   local fields = {}
   for key, value in pairs(self) do
      fields[key] = value
   end
   local list = index_table(indices)
   indices = M.indices(indices, 2)
   fields.images = self.images:index_select(1, indices)
   fields.labels = self.labels:index_select(1, indices)
   for _, key in ipairs(SAMPLE_FIELDS) do
      fields[key] = self[key] and pick(self[key], list)
   end
   return M.new(fields)
end

--- A data set of some of the classes, numbered anew in the order given.
-- @tparam {number,...} classes
-- @treturn Set
-- @usage local vowels = set:select_classes{ 1, 5, 9 }
function Set:select_classes(classes)
   local members, indices, labels = self:members(), {}, {}
   for new, old in ipairs(classes) do
      if not members[old] then
         error(("select_classes: there is no class %s (the set has %d)")
            :format(old, #self.classes), 2)
      end
      for _, index in ipairs(members[old]) do
         indices[#indices + 1] = index
         labels[#labels + 1] = new
      end
   end
   local part = self:subset(indices)
   part.labels = M.indices(labels, 2)
   for _, key in ipairs(CLASS_FIELDS) do
      part[key] = self[key] and pick(self[key], classes)
   end
   return part
end

--- "Data set: 1000 images 1x28x28 (uint8) of 50 classes".
function Set:__tostring()
   local shape = self.images.shape
   return ("Data set: %d images %dx%dx%d (%s) of %d classes")
      :format(shape[1], shape[2], shape[3], shape[4], self.images.dtype, #self.classes)
end

return M
