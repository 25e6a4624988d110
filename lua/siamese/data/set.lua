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
-- A set that was made with `stream = true` has no `images`: its pictures stay in their files, and
-- `batch`, `load` and `data.loader` read them. All else is the same.
--
-- @module siamese.data.set
local core = require "siamese.core"
local is_tensor = require "siamese.data.labels".is_tensor
local number = require "siamese.data.labels".number
local options = require "siamese.options"
local reading = require "siamese.reading"

local M = {}

--- @type Set
local Set = {}
Set.__index = Set

local SAMPLE_FIELDS = { "paths", "drawers" }
local CLASS_FIELDS = { "classes", "alphabets" }

--- An index list as an int64 tensor [K].
-- @tparam string name of what wants it, for messages
-- @tparam tensor|table list
-- @treturn tensor
function M.indices(name, list)
   if is_tensor(list) then
      if list.dtype ~= "int64" then
         core.raise(("%s: expected a list of indices [K] or an int64 tensor, got a %s tensor"):format(name,
            list.dtype))
      end
      return list
   elseif type(list) ~= "table" then
      core.raise(("%s: expected a list of indices or an int64 tensor, got %s"):format(name, type(list)))
   end
   for i, index in ipairs(list) do
      if type(index) ~= "table" and not (type(index) == "number" and math.tointeger(index)) then
         core.raise(("%s: index %d of the list must be an integer, got %s"):format(name, i,
            options.text(index)))
      end
   end
   return #list == 0 and core.zeros(0, { dtype = "int64" })
      or core.tensor(list, { dtype = "int64" })
end

--- An index list of `set`'s images as an int64 tensor [K]; raises for what is none.
local function rows(name, set, list)
   local indices, n = M.indices(name, list), #set
   if indices:dim() ~= 1 then
      core.raise(("%s: expected a list of indices, [K], got a %d-D tensor"):format(name, indices:dim()))
   end
   local low, high = 1, 1
   if indices:numel() > 0 then
      low, high = indices:min():item(), indices:max():item()
   end
   if low < 1 or high > n then
      core.raise(("%s: index %d is not from 1 to %d (the images)"):format(name, low < 1 and low or high, n))
   end
   return indices
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

-- Making one

local function check_images(images)
   if not is_tensor(images) or images:dim() ~= 4 then
      local got = is_tensor(images) and images:dim() .. "-D tensor" or type(images)
      core.raise("data set: images must be a tensor [N,C,H,W], got a " .. got)
   elseif images.dtype == "int64" then
      core.raise("data set: images must be uint8 (0..255) or float32 (0..1), got int64")
   end
end

local function check_labels(labels, count, classes)
   if #labels ~= count then
      core.raise(("data set: %d images but %d labels"):format(count, #labels))
   end
   for i, label in ipairs(labels) do
      if math.type(label) ~= "integer" or label < 1 or label > classes then
         core.raise(("data set: label %d is %s, expected an integer from 1 to %d (the classes)")
            :format(i, label, classes))
      end
   end
end

--- Labels as numbers and the classes' names. Names are numbered; so are numbers when nobody names the
-- classes.
local function label_numbers(labels, classes)
   if classes ~= nil and type(classes) ~= "table" then
      core.raise("data set: classes must be a list of names, got " .. type(classes))
   elseif not is_tensor(labels) and type(labels) ~= "table" then
      core.raise("data set: labels must be a list or an int64 tensor, got " .. type(labels))
   end
   local list = index_table(labels)
   local strings = 0
   for i, label in ipairs(list) do
      if type(label) ~= "string" and type(label) ~= "number" or label ~= label then
         core.raise(("data set: label %d is %s, expected an integer or a string"):format(i,
            label ~= label and "not a number" or "a " .. type(label)))
      end
      strings = strings + (type(label) == "string" and 1 or 0)
   end
   if strings == 0 and classes then
      return list, classes
   elseif strings ~= 0 and strings ~= #list then
      core.raise("data set: labels must be all numbers or all strings")
   end
   local numbers, names = number(list, classes)
   if not numbers then
      core.raise("data set: " .. names)
   end
   return numbers, names
end

--- Makes a data set of its parts (see above), checking that they agree.
-- @tparam table fields `images`, `labels` (int64 [N] or a list of numbers or of names), `classes` (default:
--   the labels that there are, sorted) and what else is known
-- @treturn Set
-- @usage local set = data.set{ images = x, labels = {1, 1, 2, 2}, classes = {"a", "b"} }
-- @usage local set = data.set{ images = x, labels = {"cat", "cat", "dog", "owl"} }
function M.new(fields)
   local count
   if type(fields) ~= "table" then
      core.raise("data set: expected a table with images and labels, got " .. type(fields))
   end
   if fields.pictures then
      count = fields.rows and fields.rows:size(1) or #fields.pictures
   else
      check_images(fields.images)
      count = fields.images:size(1)
   end
   local labels, classes = label_numbers(fields.labels, fields.classes)
   check_labels(labels, count, #classes)
   local set = {}
   for key, value in pairs(fields) do
      set[key] = value
   end
   set.classes = classes
   set.labels = is_tensor(fields.labels) and labels == fields.labels and fields.labels
      or M.indices("data set", labels)
   return setmetatable(set, Set)
end

--- Raises unless a value is a data set, or, for those who call no methods, a table with its `labels` and
-- `classes`.
-- @tparam string name of what wants it, for messages
-- @param set
-- @tparam[opt] boolean methods whether they are called
function M.check(name, set, methods)
   local labels = type(set) == "table" and set.labels
   if (is_tensor(labels) or type(labels) == "table") and type(set.classes) == "table"
      and (not methods or getmetatable(set) == Set) then
      return
   end
   core.raise(("%s: expected a data set (of data.set or a loader), got %s"):format(name,
      type(set) == "table" and "another table" or type(set)))
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

-- What is in it

--- The number of images; `#set` is the same.
function Set:__len()
   return self.labels:size(1)
end

--- For each class the list of its images' indices.
-- @treturn {{number,...},...}
function Set:members()
   return M.members(self)
end

--- The number of images of each class.
-- @treturn {number,...}
function Set:counts()
   local counts = {}
   for class, list in ipairs(M.members(self)) do
      counts[class] = #list
   end
   return counts
end

--- {C,H,W} of an image; nil for pictures in files that may have any size.
-- @treturn ?{number,number,number}
function Set:shape()
   if self.pictures then
      return self.pictures:shape()
   end
   return table.move(self.images.shape, 2, 4, 1, {})
end

--- Whether its pictures stay in files until they are wanted.
-- @treturn boolean
function Set:streams()
   return self.pictures ~= nil
end

--- Where images lie in `pictures`.
local function rows_of(self, indices)
   return self.rows and self.rows:index_select(1, indices) or indices
end

--- A picture's name for messages.
function M.name(set, index)
   return set.paths and set.paths[index] or ("picture %d"):format(index)
end

--- The images at some indices, for a network. A picture that cannot be read raises an error with its
-- file's name.
-- @tparam tensor|table indices [K], counted from 1
-- @treturn tensor images [K,C,H,W], float32 in [0,1]
-- @treturn tensor labels [K], int64
-- @usage local x, y = set:batch{ 1, 5, 9 }
function Set:batch(indices)
   indices = rows("Set:batch", self, indices)
   local images
   if self.pictures then
      local failures
      images, failures = reading.gather(self.pictures, rows_of(self, indices), "float32")
      local _, message = next(failures)
      if message then
         core.raise(message)
      end
      return images, self.labels:index_select(1, indices)
   end
   images = self.images:index_select(1, indices)
   if images.dtype == "uint8" then
      images = images:float():mul_(1 / 255)
   end
   return images, self.labels:index_select(1, indices)
end

local function each_part(self, visit)
   local part, n = 256, #self
   for first = 1, n, part do
      local indices = core.arange(first, math.min(first + part, n + 1), { dtype = "int64" })
      local images, failures = reading.gather(self.pictures, rows_of(self, indices), self.pictures:dtype())
      visit(images, failures, first)
   end
end

--- Reads all pictures and lists those that cannot be read.
-- @treturn {table,...} of {index =, path =, message =}
-- @usage for _, bad in ipairs(set:verify()) do print(bad.message) end
function Set:verify()
   local bad = {}
   if not self.pictures then
      return bad
   end
   each_part(self, function(_, failures, first)
      for i = 0, 255 do
         if failures[i + 1] then
            bad[#bad + 1] = { index = first + i, path = M.name(self, first + i), message = failures[i + 1] }
         end
      end
   end)
   return bad
end

--- The same set with its pictures in memory; itself when they are there already.
-- @treturn[1] Set
-- @treturn[2] nil
-- @treturn[2] string what was wrong with the first picture that cannot be read
function Set:load()
   if not self.pictures then
      return self
   end
   local shape, message = self:shape(), nil
   local all = core.zeros(#self, shape[1], shape[2], shape[3], { dtype = self.pictures:dtype() })
   each_part(self, function(images, failures, first)
      local _, why = next(failures)
      message = message or why
      all:narrow(1, first, images:size(1)):copy_(images)
   end)
   if message then
      return nil, message
   end
   local fields = {}
   for key, value in pairs(self) do
      fields[key] = value
   end
   fields.pictures, fields.rows = nil, nil
   fields.images = all
   return M.new(fields)
end

-- Parts of it

--- A data set of some of the images; the classes stay as they are.
-- @tparam tensor|table indices [K], counted from 1
-- @treturn Set
function Set:subset(indices)
   local fields = {}
   for key, value in pairs(self) do
      fields[key] = value
   end
   local list = index_table(indices)
   indices = rows("Set:subset", self, indices)
   if self.pictures then
      fields.rows = rows_of(self, indices)
   else
      fields.images = self.images:index_select(1, indices)
   end
   fields.labels = self.labels:index_select(1, indices)
   for _, key in ipairs(SAMPLE_FIELDS) do
      fields[key] = self[key] and pick(self[key], list)
   end
   return M.new(fields)
end

--- A data set of some of the classes, numbered anew in the order given.
-- @tparam {number|string,...} classes numbers or names
-- @treturn Set
-- @usage local vowels = set:select_classes{ 1, 5, 9 }
function Set:select_classes(classes)
   if type(classes) ~= "table" and not is_tensor(classes) then
      core.raise("select_classes: expected a list of classes (numbers or names), got " .. type(classes))
   end
   local members, indices, labels, numbers, at = self:members(), {}, {}, {}, {}
   for class, name in ipairs(self.classes) do
      at[name] = class
   end
   for new, old in ipairs(index_table(classes)) do
      local class = members[old] and old or at[old]
      if not class then
         core.raise(("select_classes: there is no class %s (the set has %d)")
            :format(options.text(old), #self.classes))
      end
      numbers[new] = class
      for _, index in ipairs(members[class]) do
         indices[#indices + 1] = index
         labels[#labels + 1] = new
      end
   end
   local part = self:subset(indices)
   part.labels = M.indices("select_classes", labels)
   for _, key in ipairs(CLASS_FIELDS) do
      part[key] = self[key] and pick(self[key], numbers)
   end
   return part
end

-- In words

local function size_text(self)
   local shape = self:shape()
   local dtype = self.pictures and "in files" or self.images.dtype
   return shape and ("%dx%dx%d (%s)"):format(shape[1], shape[2], shape[3], dtype)
      or ("of any size (%s)"):format(dtype)
end

--- " (cat 3, dog 5)" for some classes, ", 20 each" or ", 1 to 530 each" for many.
local function counts_text(self)
   local counts, parts, least, most = self:counts(), {}, math.huge, 0
   for class, count in ipairs(counts) do
      least, most = math.min(least, count), math.max(most, count)
      parts[class] = ("%s %d"):format(self.classes[class], count)
   end
   if #counts == 0 then
      return ""
   elseif #counts <= 6 then
      return (" (%s)"):format(table.concat(parts, ", "))
   end
   return least == most and (", %d each"):format(most) or (", %d to %d each"):format(least, most)
end

--- The classes and how many images each has, a line a class.
-- @tparam[opt] number most of the lines; the rest is counted in the last (default: all)
-- @treturn string
-- @usage print(set:summary())
function Set:summary(most)
   local counts, width = self:counts(), 0
   local shown = math.min(#counts, most or math.huge)
   local lines = { tostring(self) }
   for class = 1, shown do
      width = math.max(width, #tostring(self.classes[class]))
   end
   for class = 1, shown do
      local name = tostring(self.classes[class])
      lines[#lines + 1] = ("  %s%s  %d"):format(name, (" "):rep(width - #name), counts[class])
   end
   if shown < #counts then
      lines[#lines + 1] = ("  ... and %d more"):format(#counts - shown)
   end
   return table.concat(lines, "\n")
end

--- "Data set: 1000 images 1x28x28 (uint8) of 50 classes, 20 each", and how many files were left out. Up to
-- six classes are named with their counts; `summary` names all.
function Set:__tostring()
   local text = ("Data set: %d images %s of %d classes%s"):format(#self, size_text(self), #self.classes,
      counts_text(self))
   local skipped = self.skipped
   return skipped and #skipped > 0 and ("%s; %d files left out"):format(text, #skipped) or text
end

return M
