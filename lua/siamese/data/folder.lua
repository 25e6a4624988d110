--- Data sets from folders of pictures.
-- @module siamese.data.folder
local core = require "siamese.core"
local labels = require "siamese.data.labels"
local options = require "siamese.options"
local reading = require "siamese.reading"
local sets = require "siamese.data.set"
local trees = require "siamese.data.tree"

local M = {}

--- The options that all loaders of picture files share.
M.OPTIONS = {
   size = options.optional, channels = 1, dtype = "uint8", invert = false, on_error = options.optional,
   mode = "area", max_width = 16384, max_height = 16384, max_bytes = 256 << 20, stream = false,
}

local MOST_SIDE = 65536 -- as the core has it

-- Checks

--- Raises unless on_error is one of what it may be; "raise" for "error", too.
local function check_on_error(name, on_error)
   if on_error == "error" then
      return "raise"
   elseif on_error ~= nil and on_error ~= "skip" and on_error ~= "raise" and type(on_error) ~= "function" then
      core.raise(("%s: on_error must be 'skip', 'raise' or a function, got %s"):format(name,
         options.text(on_error)))
   end
   return on_error
end
M.check_on_error = check_on_error

--- Raises unless the names of classes are a list, or nil.
function M.check_classes(name, classes)
   if classes ~= nil and type(classes) ~= "table" then
      core.raise(("%s: classes must be a list of names, got %s"):format(name, options.text(classes)))
   end
end

--- What `core.loading.pictures` wants to know.
local function form_of(name, o)
   options.check_choice(name, o, "dtype", { "uint8", "float32" })
   options.check_choice(name, o, "mode", { "area", "bilinear" })
   options.check_boolean(name, o, "invert")
   options.check_boolean(name, o, "stream")
   if o.channels ~= 1 and o.channels ~= 3 then
      core.raise(("%s: channels must be 1 or 3, got %s"):format(name, options.text(o.channels)))
   end
   for _, key in ipairs{ "max_width", "max_height", "max_bytes" } do
      options.check_count(name, o, key, 1)
   end
   local form = { channels = o.channels, dtype = o.dtype, mode = o.mode, invert = o.invert,
      max_width = o.max_width, max_height = o.max_height, max_bytes = o.max_bytes }
   if o.size == "any" then
      form.any_size = true
   elseif o.size ~= nil then
      local size = options.check_pair(name, o, "size", 1)
      if size[1] > MOST_SIDE or size[2] > MOST_SIDE then
         core.raise(("%s: a size must be from 1 to %d, got %s"):format(name, MOST_SIDE, options.text(o.size)))
      end
      form.height, form.width = size[1], size[2]
   end
   if o.size == "any" and not o.stream then
      core.raise(name .. ": size = 'any' needs stream = true: images in memory have one size")
   end
   return form
end

--- Checks the options of a loader of pictures: as `options.check`, and what is in them.
-- @treturn table options, with `form`
function M.check(name, opts, spec)
   local o = options.check(name, opts, spec or M.OPTIONS)
   o.on_error = check_on_error(name, o.on_error)
   o.form = form_of(name, o)
   return o
end

-- Pictures of known paths

--- The samples that could be read and what was wrong with the others; or nil and the message of the one
-- that on_error did not take.
local function sort_out(paths, failures, on_error)
   local keep, skipped = {}, {}
   for i, path in ipairs(paths) do
      local message = failures[i]
      if not message then
         keep[#keep + 1] = i
      elseif on_error == "raise" or type(on_error) == "function" and on_error(path, message) == false then
         return nil, message
      else
         skipped[#skipped + 1] = { path = path, message = message }
      end
   end
   if #keep == 0 and #skipped > 0 then
      return nil, skipped[1].message
   end
   return keep, skipped
end

local function stream(fields, tree, o)
   local pictures, message = core.loading.pictures(fields.paths, tree.archives, o.form)
   if not pictures then
      return nil, message
   end
   fields.pictures, fields.on_error, fields.skipped = pictures, o.on_error, {}
   return sets.new(fields)
end

--- Loads the pictures of `fields.paths`, or leaves them where they are, and makes the data set.
-- @tparam table fields `paths`, `labels`, `classes` and what else is known (lists)
-- @tparam Tree tree where they are
-- @tparam table o options of `check`
-- @treturn[1] Set with `skipped`, a list of {path=, message=}
-- @treturn[1] {int,...} the places in `paths` of what is in it
-- @treturn[2] nil
-- @treturn[2] string message
function M.load(fields, tree, o)
   if o.stream then
      local set, message = stream(fields, tree, o)
      return set, message
   end
   local images, failures = reading.load(fields.paths, tree.archives, o.form)
   if not images then
      return nil, failures
   end
   local keep, skipped = sort_out(fields.paths, failures, o.on_error or "skip")
   if not keep then
      return nil, skipped
   end
   fields.images = images
   local set = sets.new(fields)
   if #skipped > 0 then
      set = set:subset(keep)
   end
   set.skipped = skipped
   return set, keep
end

-- Layouts

--- One class a folder of a tree.
function M.classes(root, tree, o)
   local classes, message = tree:folders(tree.root)
   if not classes then
      return nil, message
   end
   local fields = { paths = {}, labels = {}, classes = classes }
   for label, class in ipairs(classes) do
      local paths, why = tree:pictures(tree.root .. "/" .. class)
      if not paths then
         return nil, why
      end
      for _, path in ipairs(paths) do
         fields.paths[#fields.paths + 1] = path
         fields.labels[#fields.labels + 1] = label
      end
   end
   if #fields.paths == 0 then
      return nil, root .. ": no pictures in folders of classes (root/CLASS/picture.png)"
   end
   local set, why = M.load(fields, tree, o)
   return set, not set and why or nil
end

--- A folder with one folder of pictures a class: `root/CLASS/anything.png`.
--
-- Without `size` all pictures must be as large as the first one; with it they are resized. With
-- `stream = true` nothing but the first picture is read: the set knows its files and reads them as
-- batches want them (`data.loader`), so it may be larger than memory.
-- @tparam string root a folder, a zip archive ("pictures.zip") or a folder in one ("x.zip/train")
-- @tparam[opt] table opts `size` ({height, width} or one number; "any", for streams that are made one
--   size by their augmentation), `channels` (1 grey, the default, or 3), `dtype` ("uint8", the default, or
--   "float32"), `invert` (default false), `mode` ("area" or "bilinear"), `on_error` (what is done with files
--   that cannot be read, links to nowhere and pipes among them: "skip", the default, lists them in the set's
--   `skipped`; "raise" makes the answer nil; a function gets path and message and skips the file unless it
--   returns false. A stream hands it on to `data.loader`, whose default is "raise"), `stream` (default
--   false), `max_width`, `max_height`, `max_bytes`
-- @treturn[1] Set
-- @treturn[2] nil
-- @treturn[2] string message
-- @usage local set = assert(data.folder("pictures", { size = { 64, 64 } }))
-- @usage local set = assert(data.folder("faces.zip", { size = 112, channels = 3, stream = true }))
function M.folder(root, opts)
   local o = M.check("data.folder", opts)
   local tree, message = trees.open(root, "data.folder")
   if not tree then
      return nil, message
   end
   local set, why = M.classes(root, tree, o)
   return set, why
end

--- Picture files and their labels.
-- @tparam {string,...} paths
-- @tparam {string|number,...} names the label of each: names, or numbers
-- @tparam[opt] table opts as for `folder`, and `classes` (the names in their order; default: all that
--   there are, sorted)
-- @treturn[1] Set
-- @treturn[2] nil
-- @treturn[2] string message
-- @usage local set = assert(data.files({ "a.png", "b.png" }, { "cat", "dog" }, { size = 32 }))
function M.files(paths, names, opts)
   local o = M.check("data.files", opts, options.extend(M.OPTIONS, { classes = options.optional }))
   if type(paths) ~= "table" or type(names) ~= "table" or #paths ~= #names then
      core.raise("data.files: expected a list of paths and a list of as many labels")
   end
   M.check_classes("data.files", o.classes)
   for _, path in ipairs(paths) do
      options.check_path("data.files", path)
   end
   local numbers, classes = labels.number(names, o.classes)
   if not numbers then
      core.raise("data.files: " .. classes)
   end
   local fields = { paths = table.move(paths, 1, #paths, 1, {}), labels = numbers, classes = classes }
   local set, why = M.load(fields, { archives = {} }, o)
   return set, not set and why or nil
end

--- The ORL faces (Samaria, Harter 1994): `root/sN/M.pgm`, 40 people, 10 pictures each, 92 x 112.
-- People are classes, in the order of their numbers.
-- @tparam string root a folder or a zip archive
-- @tparam[opt] table opts as for `folder`
-- @treturn[1] Set
-- @treturn[2] nil
-- @treturn[2] string message
-- @usage local faces = assert(data.orl("orl_faces", { size = { 56, 46 } }))
function M.orl(root, opts)
   local o = M.check("data.orl", opts)
   local tree, message = trees.open(root, "data.orl")
   if not tree then
      return nil, message
   end
   local names
   names, message = tree:folders(tree.root)
   if not names then
      return nil, message
   end
   local people = {}
   for _, name in ipairs(names) do
      people[#people + 1] = tonumber(name:match("^s(%d+)$"))
   end
   table.sort(people)
   local fields = { paths = {}, labels = {}, classes = {} }
   for label, person in ipairs(people) do
      fields.classes[label] = ("s%d"):format(person)
      for picture = 1, 10 do
         fields.paths[#fields.paths + 1] = ("%s/s%d/%d.pgm"):format(tree.root, person, picture)
         fields.labels[#fields.labels + 1] = label
      end
   end
   if #people == 0 then
      return nil, root .. ": no people's folders s1, s2, ... of the ORL faces"
   end
   local set, why = M.load(fields, tree, o)
   return set, not set and why or nil
end

return M
