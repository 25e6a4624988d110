--- Labeled Faces in the Wild (Huang, Ramesh, Berg, Learned-Miller: "Labeled Faces in the Wild: a database for
-- studying face recognition in unconstrained environments", UMass technical report 07-49, 2007) in its
-- published layout, with the protocols of its two views.
--
-- View 1 is for development: train on the people or pairs of "DevTrain", choose on those of "DevTest". View
-- 2 is for the figure that is reported: ten folds of 300 same and 300 different pairs.
-- @module siamese.data.lfw
local folder = require "siamese.data.folder"
local options = require "siamese.options"
local pair_list = require "siamese.data.pair_list"
local trees = require "siamese.data.tree"

local M = {}

--- @type LFW
local LFW = { __name = "LFW" }
LFW.__index = LFW

--- The words of each line that has some, with the line's number.
local function words_of(text)
   local lines, number = {}, 0
   for line in (text .. "\n"):gmatch("(.-)\r?\n") do
      number = number + 1
      local words = { line = number }
      for word in line:gmatch("%S+") do
         words[#words + 1] = word
      end
      if #words > 0 then
         lines[#lines + 1] = words
      end
   end
   return lines
end

local function read_lines(self, file)
   local path = self.root .. "/" .. file
   local text, message = self.tree:read(path)
   if not text then
      return nil, message
   end
   return words_of(text), path
end

--- A file of a protocol with its extension.
local function with_extension(name)
   return name:match("%.txt$") and name or name .. ".txt"
end

local function picture_name(person, number)
   return ("%s_%04d"):format(person, number)
end

-- Pairs

--- The two pictures that a line names: NAME N M, or NAME N NAME M.
local function names_of(words)
   local first, second = math.tointeger(tonumber(words[2])), math.tointeger(tonumber(words[#words]))
   if (#words ~= 3 and #words ~= 4) or not first or not second then
      return nil
   end
   return picture_name(words[1], first), picture_name(words[#words == 3 and 1 or 3], second)
end

--- The folds and the pairs of each kind in a fold, of a file's first line: "1100" or "10 300".
local function read_header(words)
   local first, second = math.tointeger(tonumber(words[1])), math.tointeger(tonumber(words[2] or "0"))
   if not first or not second or #words > 2 then
      return nil
   end
   return #words == 2 and first or 1, #words == 2 and second or first
end

--- Adds the pair of a line; nil and a message when a picture is not there and may not be missing.
local function add_pair(self, path, words, out, fold)
   local x, y = names_of(words)
   if not x then
      return nil, ("%s: line %d: cannot understand '%s'"):format(path, words.line,
         table.concat(words, " "):sub(1, 80))
   end
   local a, b = self.index[x], self.index[y]
   if a and b then
      local n = #out.a + 1
      out.a[n], out.b[n], out.same[n], out.fold[n] = a, b, #words == 3 and 1 or 0, fold
      return true
   elseif self.on_error == "raise" then
      return nil, ("%s: line %d: there is no picture %s"):format(path, words.line, a and y or x)
   end
   table.insert(out.skipped, { a = x, b = y })
   return true
end

--- The pairs of a protocol, such as "pairsDevTrain", "pairsDevTest" or "pairs".
--
-- Pairs of which a picture is not in the set are listed in the answer's `skipped` (or make it nil, with
-- `on_error = "raise"`).
-- @tparam string name of the file, with or without ".txt"
-- @treturn[1] PairList; with ten folds for "pairs" (see its `folds`)
-- @treturn[2] nil
-- @treturn[2] string message
-- @usage local test = assert(lfw:pairs("pairsDevTest"))
function LFW:pairs(name)
   local file = with_extension(name)
   local lines, path = read_lines(self, file)
   if not lines then
      return nil, path
   end
   local folds, each = 1, 0
   if lines[1] then
      folds, each = read_header(lines[1])
   end
   if not folds or folds * each * 2 ~= #lines - 1 then
      return nil, ("%s: the first line must say how many pairs follow; %s"):format(path,
         #lines == 0 and "the file is empty" or ("there are %d lines"):format(#lines - 1))
   end
   local out = { set = self.set, a = {}, b = {}, same = {}, fold = {}, skipped = {},
      name = file:match("(.-)%.txt$") }
   for i = 2, #lines do
      local ok, message = add_pair(self, path, lines[i], out, (i - 2) // (2 * each) + 1)
      if not ok then
         return nil, message
      end
   end
   return pair_list.new(out)
end

--- The ten folds of View 2.
-- @treturn[1] {PairList,...} train on nine, test on the tenth, ten times
-- @treturn[2] nil
-- @treturn[2] string message
-- @usage for number, fold in ipairs(assert(lfw:folds())) do ... end
function LFW:folds()
   local pairs, message = self:pairs("pairs")
   if not pairs then
      return nil, message
   end
   return pairs:folds()
end

--- The pictures of a protocol's people, such as "peopleDevTrain" or "peopleDevTest": those that there are.
-- @tparam string name of the file, with or without ".txt"
-- @treturn[1] Set classes are people
-- @treturn[2] nil
-- @treturn[2] string message
-- @usage local train = assert(lfw:people("peopleDevTrain"))
function LFW:people(name)
   local lines, path = read_lines(self, with_extension(name))
   if not lines then
      return nil, path
   end
   local at, classes = {}, {}
   for class, person in ipairs(self.set.classes) do
      at[person] = class
   end
   for i, words in ipairs(lines) do
      local is_count = #words == 1 and words[1]:match("^%d+$") -- how many follow
      if not is_count and #words ~= 2 then
         return nil, ("%s: line %d: cannot understand '%s'"):format(path, words.line,
            table.concat(words, " "):sub(1, 80))
      elseif at[words[1]] and i > 1 then
         classes[#classes + 1] = at[words[1]]
         at[words[1]] = nil
      end
   end
   if #classes == 0 then
      return nil, path .. ": there are no pictures of these people"
   end
   return self.set:select_classes(classes)
end

--- "LFW: Data set: ...".
function LFW:__tostring()
   return "LFW: " .. tostring(self.set)
end

--- Opens the layout `root/NAME/NAME_NNNN.jpg`, with the protocols' files (pairs.txt, pairsDevTrain.txt,
-- peopleDevTrain.txt, ...) in `root`.
-- @tparam string root a folder or a zip archive
-- @tparam[opt] table opts as for `data.folder`; `channels` is 3 by default; `protocols` (where the protocols'
--   files are, default root)
-- @treturn[1] LFW with the field `set` (all pictures; classes are people), methods `pairs`, `folds` and
--   `people`
-- @treturn[2] nil
-- @treturn[2] string message
-- @usage
-- local lfw = assert(data.lfw("lfw", { size = 112, stream = true }))
-- local train, test = assert(lfw:people("peopleDevTrain")), assert(lfw:pairs("pairsDevTest"))
function M.lfw(root, opts)
   local o = folder.check("data.lfw", opts, options.extend(folder.OPTIONS, { channels = 3,
      protocols = options.optional }))
   local tree, message = trees.open(root, "data.lfw")
   if not tree then
      return nil, message
   end
   local set
   set, message = folder.classes(root, tree, o)
   if not set then
      return nil, message
   end
   local self = setmetatable({ set = set, tree = tree, root = tree.root, index = {},
      on_error = o.on_error }, LFW)
   if o.protocols then
      self.tree, message = trees.open(o.protocols, "data.lfw")
      if not self.tree then
         return nil, message
      end
      self.root = self.tree.root
   end
   for i, path in ipairs(set.paths) do
      self.index[path:match("([^/]*)%.%w+$")] = i
   end
   return self
end

return M
