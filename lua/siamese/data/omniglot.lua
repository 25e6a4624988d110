--- Omniglot (Lake, Salakhutdinov, Tenenbaum: "Human-level concept learning through probabilistic
-- program induction", Science 350, 2015) in its published layouts.
-- @module siamese.data.omniglot
local core = require "siamese.core"
local folder = require "siamese.data.folder"
local options = require "siamese.options"
local trees = require "siamese.data.tree"

local M = {}

local OPTIONS = options.extend(folder.OPTIONS, { invert = true })

--- Adds the drawings of one character to the lists.
local function add_character(fields, tree, path, alphabet, character)
   local paths, message = tree:pictures(path)
   if not paths then
      return nil, message
   end
   local label = #fields.classes + 1
   fields.classes[label] = alphabet .. "/" .. character
   fields.alphabets[label] = alphabet
   for _, file in ipairs(paths) do
      local at = #fields.paths + 1
      fields.paths[at] = file
      fields.labels[at] = label
      fields.drawers[at] = tonumber(file:match("_(%d+)%.%w+$")) or 0
   end
   return true
end

--- The background (or evaluation) set: `root/ALPHABET/characterNN/IIII_DD.png`, where DD is the
-- number of the drawer.
--
-- A class is a character; `alphabets` names the alphabet of each class and `drawers` the drawer of
-- each image. The files hold ink 0 on paper 1; with `invert` (the default) ink is bright.
-- @tparam string root such as "images_background" or "images_background.zip"
-- @tparam[opt] table opts as for `data.folder`; `invert` is true by default
-- @treturn[1] Set
-- @treturn[2] nil
-- @treturn[2] string message
-- @usage local set = assert(data.omniglot("omniglot/images_background", { size = 28 }))
function M.omniglot(root, opts)
   local o = folder.check("data.omniglot", opts, OPTIONS)
   local tree, message = trees.open(root, "data.omniglot")
   if not tree then
      return nil, message
   end
   local alphabets
   alphabets, message = tree:folders(tree.root)
   if not alphabets then
      return nil, message
   end
   local fields = { paths = {}, labels = {}, drawers = {}, classes = {}, alphabets = {} }
   for _, alphabet in ipairs(alphabets) do
      local characters, why = tree:folders(tree.root .. "/" .. alphabet)
      for _, character in ipairs(characters or {}) do
         local path = ("%s/%s/%s"):format(tree.root, alphabet, character)
         characters, why = add_character(fields, tree, path, alphabet, character)
         if not characters then
            return nil, why
         end
      end
      if not characters then
         return nil, why
      end
   end
   if #fields.paths == 0 then
      return nil, root .. ": no drawings in the layout ALPHABET/characterNN/IIII_DD.png"
   end
   local set, why = folder.load(fields, tree, o)
   return set, not set and why or nil
end

--- The lines of class_labels.txt: for each test file the training file of its class.
local function read_answers(tree, path)
   local text, message = tree:read(path)
   if not text then
      return nil, message
   end
   local answers = {}
   for line in text:gmatch("[^\r\n]+") do
      local test, training = line:match("^%S-(item%d+%.png)%s+%S-(class%d+%.png)%s*$")
      if test then
         answers[test] = training
      elseif line:match("%S") then
         return nil, ("%s: cannot understand the line '%s'"):format(path, line:sub(1, 80))
      end
   end
   return answers
end

local function base_name(path)
   return path:match("[^/]+$")
end

--- Loads one folder of a run; every picture is a class of its own.
local function load_side(tree, path, o)
   local paths, message = tree:pictures(path)
   if not paths then
      return nil, message
   elseif #paths == 0 then
      return nil, path .. ": no pictures"
   end
   local fields = { paths = paths, labels = {}, classes = {} }
   for i, file in ipairs(paths) do
      fields.labels[i], fields.classes[i] = i, base_name(file)
   end
   return folder.load(fields, tree, o)
end

local function load_run(tree, path, o)
   local answers, message = read_answers(tree, path .. "/class_labels.txt")
   if not answers then
      return nil, message
   end
   local sides = {}
   for _, side in ipairs{ "training", "test" } do
      sides[side], message = load_side(tree, path .. "/" .. side, o)
      if not sides[side] then
         return nil, message
      end
   end
   local number = {}
   for i, name in ipairs(sides.training.classes) do
      number[name] = i
   end
   local list = {}
   for i, name in ipairs(sides.test.classes) do
      list[i] = number[answers[name]]
      if not list[i] then
         return nil, ("%s/class_labels.txt: no training picture for %s"):format(path, name)
      end
   end
   return { name = base_name(path), training = sides.training.images, test = sides.test.images,
      answers = core.tensor(list, { dtype = "int64" }),
      training_paths = sides.training.paths, test_paths = sides.test.paths }
end

--- The one-shot classification runs: `root/runNN/training/classKK.png`, `root/runNN/test/itemKK.png`
-- and `root/runNN/class_labels.txt`, however many runs there are.
-- @tparam string root such as "all_runs" or "all_runs.zip"
-- @tparam[opt] table opts as for `omniglot`; a picture that cannot be read is an error
-- @treturn[1] {table,...} for each run `name`, `training` [N,C,H,W], `test` [M,C,H,W], `answers`
--   (int64 [M]: which training picture has the class of each test picture) and the paths
-- @treturn[2] nil
-- @treturn[2] string message
-- @usage local runs = assert(data.omniglot_runs("omniglot/all_runs", { size = 28 }))
function M.omniglot_runs(root, opts)
   local o = folder.check("data.omniglot_runs", opts, OPTIONS)
   o.on_error, o.stream = "raise", false
   local tree, message = trees.open(root, "data.omniglot_runs")
   if not tree then
      return nil, message
   end
   local names
   names, message = tree:folders(tree.root)
   if not names then
      return nil, message
   end
   local runs = {}
   for _, name in ipairs(names) do
      if name:match("^run%d+$") then
         local run, why = load_run(tree, tree.root .. "/" .. name, o)
         if not run then
            return nil, why
         end
         runs[#runs + 1] = run
      end
   end
   if #runs == 0 then
      return nil, root .. ": no runs (folders run01, run02, ...)"
   end
   return runs
end

return M
