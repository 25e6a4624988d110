--- Data sets from folders of pictures.
-- @module siamese.data.folder
local core = require "siamese.core"
local image = require "siamese.image"
local options = require "siamese.options"
local sets = require "siamese.data.set"

local M = {}

local EXTENSIONS = { png = true, jpg = true, jpeg = true, pgm = true, ppm = true, pnm = true,
   bmp = true, gif = true }

--- The picture files in a folder, sorted by name; hidden files are left out.
-- @tparam string folder
-- @treturn[1] {string,...} full paths
-- @treturn[2] nil
-- @treturn[2] string message
function M.pictures(folder)
   local names, kinds = core.list_folder(folder)
   if not names then
      return nil, kinds
   end
   local paths = {}
   for i, name in ipairs(names) do
      local extension = name:match("^[^.].*%.(%w+)$")
      if kinds[i] == "file" and extension and EXTENSIONS[extension:lower()] then
         paths[#paths + 1] = folder .. "/" .. name
      end
   end
   return paths
end

--- The folders in a folder, sorted by name; hidden ones are left out.
-- @tparam string folder
-- @treturn[1] {string,...} names
-- @treturn[2] nil
-- @treturn[2] string message
function M.folders(folder)
   local names, kinds = core.list_folder(folder)
   if not names then
      return nil, kinds
   end
   local out = {}
   for i, name in ipairs(names) do
      if kinds[i] == "folder" and name:sub(1, 1) ~= "." then
         out[#out + 1] = name
      end
   end
   return out
end

--- The options that all loaders of picture folders share.
M.OPTIONS = {
   size = options.optional, channels = 1, dtype = "uint8", invert = false, on_error = "skip",
   mode = "area", max_width = options.optional, max_height = options.optional,
   max_bytes = options.optional,
}

--- Leaves out the samples whose picture could not be read.
local function drop_failed(fields, failures, o)
   local keep, skipped = {}, {}
   for i, path in ipairs(fields.paths) do
      if failures[i] then
         skipped[#skipped + 1] = { path = path, message = failures[i] }
      else
         keep[#keep + 1] = i
      end
   end
   if #skipped > 0 and (o.on_error == "error" or #keep == 0) then
      return nil, skipped[1].message
   end
   local set = sets.new(fields)
   if #skipped > 0 then
      set = set:subset(keep)
   end
   set.skipped = skipped
   return set
end

--- Loads the pictures of `fields.paths` and makes the data set.
-- @tparam table fields `paths`, `labels`, `classes` and what else is known (lists)
-- @tparam table o checked options (see `M.OPTIONS`)
-- @treturn[1] Set with `skipped`, a list of {path=, message=}
-- @treturn[2] nil
-- @treturn[2] string message
function M.load(fields, o)
   if o.on_error ~= "skip" and o.on_error ~= "error" then
      error(("on_error must be 'skip' or 'error', got '%s'"):format(tostring(o.on_error)), 3)
   end
   local images, failures = image.load_batch(fields.paths, {
      size = o.size, channels = o.channels, dtype = o.dtype, mode = o.mode, invert = o.invert,
      max_width = o.max_width, max_height = o.max_height, max_bytes = o.max_bytes,
   })
   fields.images = images
   return drop_failed(fields, failures, o)
end

--- A folder with one folder of pictures a class: `root/CLASS/anything.png`.
--
-- Without `size` all pictures must be as large as the first one; with it they are resized.
-- @tparam string root
-- @tparam[opt] table opts `size` ({height, width} or one number), `channels` (1 grey, the default, or
--   3), `dtype` ("uint8", the default, or "float32"), `invert` (default false), `mode` ("area" or
--   "bilinear"), `on_error` ("skip", the default: the files that could not be read are listed in the
--   set's `skipped`; or "error": the first of them makes the answer nil), `max_width`,
--   `max_height`, `max_bytes`
-- @treturn[1] Set
-- @treturn[2] nil
-- @treturn[2] string message
-- @usage local set = assert(data.folder("pictures", { size = { 64, 64 } }))
function M.folder(root, opts)
   local o = options.check("data.folder", opts, M.OPTIONS)
   local classes, message = M.folders(root)
   if not classes then
      return nil, message
   end
   local fields = { paths = {}, labels = {}, classes = classes }
   for label, class in ipairs(classes) do
      local paths
      paths, message = M.pictures(root .. "/" .. class)
      if not paths then
         return nil, message
      end
      for _, path in ipairs(paths) do
         fields.paths[#fields.paths + 1] = path
         fields.labels[#fields.labels + 1] = label
      end
   end
   if #fields.paths == 0 then
      return nil, root .. ": no pictures in folders of classes (root/CLASS/picture.png)"
   end
   return M.load(fields, o)
end

--- The ORL faces (Samaria, Harter 1994): `root/sN/M.pgm`, 40 people, 10 pictures each, 92 x 112.
-- People are classes, in the order of their numbers.
-- @tparam string root
-- @tparam[opt] table opts as for `folder`
-- @treturn[1] Set
-- @treturn[2] nil
-- @treturn[2] string message
-- @usage local faces = assert(data.orl("orl_faces", { size = { 56, 46 } }))
function M.orl(root, opts)
   local o = options.check("data.orl", opts, M.OPTIONS)
   local names, message = M.folders(root)
   if not names then
      return nil, message
   end
   local people = {}
   for _, name in ipairs(names) do
      people[#people + 1] = tonumber(name:match("^s(%d+)$"))
   end
   table.sort(people)
   local fields = { paths = {}, labels = {}, classes = {} }
   for label, number in ipairs(people) do
      fields.classes[label] = ("s%d"):format(number)
      for picture = 1, 10 do
         fields.paths[#fields.paths + 1] = ("%s/s%d/%d.pgm"):format(root, number, picture)
         fields.labels[#fields.labels + 1] = label
      end
   end
   if #people == 0 then
      return nil, root .. ": no people's folders s1, s2, ... of the ORL faces"
   end
   return M.load(fields, o)
end

return M
